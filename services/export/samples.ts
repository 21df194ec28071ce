import { openJudge } from '@pairwise/llamacpp';
import { untilAborted, type LoadedFile } from './verify.ts';
import type { TextExpectation } from './verifyText.ts';

/** The most tokens of an answer. */
const mostTokens = 48;

/**
 * How llama.cpp answers the sample prompts with a file, in their order: with the most likely token each time. Throws the
 * errors of `openJudge`; if the signal aborts, the error is arbitrary.
 */
export async function answersOf(
  { path, adapterPath }: LoadedFile,
  { samples, serving }: TextExpectation,
  signal: AbortSignal,
): Promise<string[]> {
  const prompts = samples.map(({ ids }) => ids);
  const contextTokens = Math.max(0, ...prompts.map(({ length }) => length)) + mostTokens;
  const judge = await openJudge(path, { adapterPath, contextTokens });
  return untilAborted(judge, signal, async () => {
    const { stopIds } = serving.tokenizer.special;
    const answers: string[] = [];
    for (const { ids } of await judge.generate(prompts, { maxTokens: mostTokens, temperature: 0, stopIds })) {
      const answer = await judge.detokenize(ids, false);
      // Postgres cannot store the character 0.
      answers.push(answer.replaceAll('\0', '\ufffd'));
    }
    return answers;
  });
}
