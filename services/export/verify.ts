import { PairwiseError } from '@pairwise/errors';
import { openJudge } from '@pairwise/llamacpp';

/** A prompt and a response, as token ids, that both the policy and the exported file are asked about. */
export interface VerificationSequence {
  prompt: Int32Array;
  response: Int32Array;
}

/** Log-probabilities of each response's tokens under the policy in our own engine, in nats. */
export type PolicyLogps = (
  sequences: readonly VerificationSequence[],
  signal?: AbortSignal,
) => Promise<readonly ArrayLike<number>[]>;

/** How near a GGUF file is to the policy it was made from. */
export interface Verification {
  /** Largest and mean difference at a response token, in nats. */
  maxAbsLogpDiff: number;
  meanAbsLogpDiff: number;
  sequences: number;
  tokens: number;
  /** What the largest difference (F32, F16, BF16) or the mean (quantised types) may be at most, in nats. */
  tolerance: number;
}

/**
 * What rounding alone does stays well below these; a mistake in a tensor, its order or the rotary embedding goes far
 * above. llama.cpp rounds the activations too: to 11 bits for F16 weights, 8 for BF16 and Q8_0.
 */
export const tolerances = { F32: 0.002, F16: 0.05, BF16: 0.5, Q8_0: 0.1, Q4_K_M: 0.5 } as const;

export type GgufType = keyof typeof tolerances;

/** Whether a type is judged by its mean difference: single tokens of a quantised model may move far. */
const isQuantised: Record<GgufType, boolean> = { F32: false, F16: false, BF16: false, Q8_0: true, Q4_K_M: true };

/**
 * Runs sequences through a GGUF file in llama.cpp and compares with the policy.
 * Throws `VERIFICATION_FAILED` with the figures in its metadata where a difference is not finite or above tolerance,
 * `INVALID_FILE` where llama.cpp cannot open the file, `INVALID_ARGUMENT` without sequences, `INTERNAL` where llama.cpp
 * dies, and anything once the signal is aborted, upon which all work stops.
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
  // A NaN makes both figures NaN, and NaN is below no tolerance.
  const maxAbsLogpDiff = differences.reduce((most, difference) => Math.max(most, difference), 0);
  const meanAbsLogpDiff = differences.reduce((sum, difference) => sum + difference, 0) / tokens;
  const tolerance = tolerances[type];
  const figure = isQuantised[type] ? meanAbsLogpDiff : maxAbsLogpDiff;
  if (figure <= tolerance) return { maxAbsLogpDiff, meanAbsLogpDiff, sequences, tokens, tolerance };
  const kind = isQuantised[type] ? 'mean' : 'largest';
  throw new PairwiseError(
    'VERIFICATION_FAILED',
    `the ${type} file differs from the policy: the ${kind} difference per token is ${figure} nats, allowed are ${tolerance}`,
    { metadata: { type, maxAbsLogpDiff: String(maxAbsLogpDiff), meanAbsLogpDiff: String(meanAbsLogpDiff) } },
  );
}
