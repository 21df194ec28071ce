import type { Verification } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { openJudge } from '@pairwise/llamacpp';
import type { GgufType } from '@pairwise/rpc';

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
 * The largest allowed difference by type, in nats; see `Verification.tolerance` in the proto. Rounding alone stays well
 * below, and a wrong tensor, order of rows or rotary embedding is far above. llama.cpp also rounds the activations: to 11
 * bits for F16 weights, and to 8 bits for BF16 and Q8_0.
 */
export const tolerances: Record<GgufType, number> = { F32: 0.002, F16: 0.05, BF16: 0.5, Q8_0: 0.1, Q4_K_M: 0.5 };

/** Quantised types are judged by the mean difference, because single tokens may differ a lot. */
const isQuantised: Record<GgufType, boolean> = { F32: false, F16: false, BF16: false, Q8_0: true, Q4_K_M: true };

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
  const tolerance = tolerances[type];
  const figure = isQuantised[type] ? meanAbsLogpDiff : maxAbsLogpDiff;
  if (figure <= tolerance) {
    return { maxAbsLogpDiff, meanAbsLogpDiff, sequenceCount: sequences, tokenCount: tokens, tolerance };
  }
  const kind = isQuantised[type] ? 'mean' : 'largest';
  throw new PairwiseError(
    'VERIFICATION_FAILED',
    `the ${type} file differs from the policy: the ${kind} difference per token is ${figure} nats, but at most ${tolerance} is allowed`,
    { metadata: { type, maxAbsLogpDiff: String(maxAbsLogpDiff), meanAbsLogpDiff: String(meanAbsLogpDiff) } },
  );
}
