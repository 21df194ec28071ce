import { openJudge } from '@pairwise/llamacpp';
import { promptText } from './chat.ts';
import { figuresOf, type Answer, type AnswerFigures } from './judgement.ts';
import type { HeldOutQuestion } from './conversations.ts';

/** The answers of one of the demo's models, and how good they are. */
export interface Evaluation {
  /** Decoded greedily. */
  greedy: Answer[];
  /** Sampled at `sampling.temperature`. */
  sampled: Answer[];
  figures: { greedy: AnswerFigures; sampled: AnswerFigures };
}

export const sampling = { temperature: 0.8, seed: 1 };
/** More than any answer in the training data has. */
const maxTokens = 120;

/**
 * Has llama.cpp answer the questions with a GGUF file. The same file always gives the same answers. Throws soon after the
 * signal is aborted.
 */
export async function evaluate(
  ggufPath: string,
  questions: readonly HeldOutQuestion[],
  signal: AbortSignal,
): Promise<Evaluation> {
  signal.throwIfAborted();
  const judge = await openJudge(ggufPath);
  const end = () => void judge.close();
  signal.addEventListener('abort', end);
  try {
    const prompts: Int32Array[] = [];
    for (const { question } of questions) {
      prompts.push(await judge.tokenize(promptText(question), { addSpecial: false, parseSpecial: true }));
    }
    const answersAt = async (options: { temperature: number; seed?: number }): Promise<Answer[]> => {
      const answers: Answer[] = [];
      for (const { ids, stopped } of await judge.generate(prompts, { maxTokens, ...options })) {
        answers.push({ text: await judge.detokenize(ids, false), tokenCount: ids.length, ended: stopped });
      }
      return answers;
    };
    const greedy = await answersAt({ temperature: 0 });
    const sampled = await answersAt(sampling);
    return {
      greedy,
      sampled,
      figures: { greedy: figuresOf(questions, greedy), sampled: figuresOf(questions, sampled) },
    };
  } finally {
    signal.removeEventListener('abort', end);
    await judge.close();
  }
}
