import type { Verification } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { fileTypes, type GgufType } from '@pairwise/gguf';
import { openJudge } from '@pairwise/llamacpp';

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

/**
 * Compares the logps of sequences in llama.cpp with those of the policy. Throws VERIFICATION_FAILED with both differences in
 * its metadata if they are above the tolerance or not finite, INVALID_FILE if llama.cpp cannot open the file,
 * INVALID_ARGUMENT if there are no sequences, and INTERNAL if the process of llama.cpp dies. If the signal aborts, all work
 * stops and the error is arbitrary.
 */
export async function verifyGguf(options: {
  path: string;
  type: GgufType;
  sequences: readonly VerificationSequence[];
  policyLogps: PolicyLogps;
  signal?: AbortSignal;
}): Promise<Verification> {
  const { path, type, sequences, signal } = options;
  if (sequences.length === 0) throw new PairwiseError('INVALID_ARGUMENT', 'there are no sequences to verify with');
  const contextTokens = Math.max(...sequences.map(({ prompt, response }) => prompt.length + response.length));
  const judge = await openJudge(path, { contextTokens });
  const stop = () => void judge.close();
  signal?.addEventListener('abort', stop);
  try {
    const whole = sequences.map(({ prompt, response }) => Int32Array.from([...prompt, ...response]));
    const [exported, policy] = [await judge.tokenLogps(whole), await options.policyLogps(sequences, signal)];
    const differences = sequences.flatMap(({ prompt, response }, index) =>
      Array.from(response, (_, token) => {
        const ours = policy[index]?.[token] ?? NaN;
        return Math.abs(exported[index]![prompt.length - 1 + token]! - ours);
      }),
    );
    return judged(differences, sequences.length, type);
  } finally {
    signal?.removeEventListener('abort', stop);
    await judge.close();
  }
}

function judged(differences: readonly number[], sequences: number, type: GgufType): Verification {
  const tokens = differences.length;
  // A NaN makes both differences NaN, and NaN <= tolerance is false.
  const maxAbsLogpDiff = differences.reduce((most, difference) => Math.max(most, difference), 0);
  const meanAbsLogpDiff = differences.reduce((sum, difference) => sum + difference, 0) / tokens;
  const { tolerance, quantised } = fileTypes[type];
  const figure = quantised ? meanAbsLogpDiff : maxAbsLogpDiff;
  if (figure <= tolerance) {
    return { maxAbsLogpDiff, meanAbsLogpDiff, sequenceCount: sequences, tokenCount: tokens, tolerance };
  }
  const kind = quantised ? 'mean' : 'largest';
  throw new PairwiseError(
    'VERIFICATION_FAILED',
    `the ${type} file differs from the policy: the ${kind} difference per token is ${figure} nats, but at most ${tolerance} is allowed`,
    { metadata: { type, maxAbsLogpDiff: String(maxAbsLogpDiff), meanAbsLogpDiff: String(meanAbsLogpDiff) } },
  );
}
