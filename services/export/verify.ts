import type { Verification } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { fileTypes, type GgufType } from '@pairwise/gguf';
import { headerOf, openJudge } from '@pairwise/llamacpp';
import { verificationFailed } from './verificationFailed.ts';
import { verifyText, type TextExpectation } from './verifyText.ts';

/** A prompt and a response as token ids, whose logps are compared. */
export interface VerificationSequence {
  prompt: Int32Array;
  response: Int32Array;
}

/** Computes the logps of each response's tokens under the policy in our own engine, in nats. */
export type PolicyLogps = (
  sequences: readonly VerificationSequence[],
  signal?: AbortSignal,
) => Promise<readonly ArrayLike<number>[]>;

/** A GGUF file that does what was trained. */
export interface Verified {
  verification: Verification;
  /** What llama.cpp is known to do differently; usually none. */
  caveats: string[];
}

/**
 * Compares a GGUF file in llama.cpp with what was trained: first how it reads texts (see `verifyText`), then the logps of
 * sequences with those of the policy. Throws VERIFICATION_FAILED with both differences in its metadata if they are above the
 * tolerance or not finite, INVALID_FILE if llama.cpp cannot open the file, INVALID_ARGUMENT if there are no sequences, and
 * INTERNAL if the process of llama.cpp dies. If the signal aborts, all work stops and the error is arbitrary.
 */
export async function verifyGguf(options: {
  path: string;
  type: GgufType;
  text: TextExpectation;
  sequences: readonly VerificationSequence[];
  policyLogps: PolicyLogps;
  signal?: AbortSignal;
}): Promise<Verified> {
  const { path, type, text, sequences, signal } = options;
  if (sequences.length === 0) throw new PairwiseError('INVALID_ARGUMENT', 'there are no sequences to verify with');
  const contextTokens = Math.max(...sequences.map(({ prompt, response }) => prompt.length + response.length));
  const judge = await openJudge(path, { contextTokens });
  const stop = () => void judge.close();
  signal?.addEventListener('abort', stop);
  try {
    const caveats = await verifyText(judge, await headerOf(path), type, text);
    const whole = sequences.map(({ prompt, response }) => Int32Array.from([...prompt, ...response]));
    const [exported, policy] = [await judge.tokenLogps(whole), await options.policyLogps(sequences, signal)];
    const differences = sequences.flatMap(({ prompt, response }, index) =>
      Array.from(response, (_, token) => {
        const ours = policy[index]?.[token] ?? NaN;
        return Math.abs(exported[index]![prompt.length - 1 + token]! - ours);
      }),
    );
    const counts = { sequenceCount: sequences.length, tokenCount: differences.length, textCount: text.texts.length };
    return { verification: { ...judged(differences, type), ...counts }, caveats };
  } finally {
    signal?.removeEventListener('abort', stop);
    await judge.close();
  }
}

function judged(differences: readonly number[], type: GgufType) {
  // A NaN makes both differences NaN, and NaN <= tolerance is false.
  const maxAbsLogpDiff = differences.reduce((most, difference) => Math.max(most, difference), 0);
  const meanAbsLogpDiff = differences.reduce((sum, difference) => sum + difference, 0) / differences.length;
  const { tolerance, quantised } = fileTypes[type];
  const figure = quantised ? meanAbsLogpDiff : maxAbsLogpDiff;
  if (figure <= tolerance) return { maxAbsLogpDiff, meanAbsLogpDiff, tolerance };
  const kind = quantised ? 'mean' : 'largest';
  throw verificationFailed(
    type,
    `differs from the policy: the ${kind} difference per token is ${figure} nats, but at most ${tolerance} is allowed`,
    { maxAbsLogpDiff: String(maxAbsLogpDiff), meanAbsLogpDiff: String(meanAbsLogpDiff) },
  );
}
