import type { Verification } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { fileTypes, isQuantized, type GgufHeader, type GgufType, type QuantizedType } from '@pairwise/gguf';
import { headerOf, openJudge, type Judge } from '@pairwise/llamacpp';
import { differencesOf, type Differences, type TokenLogps } from './pairFigures.ts';
import { verificationFailed } from './verificationFailed.ts';
import { verifyText, type TextExpectation } from './verifyText.ts';

/** A prompt and a response as token ids, whose logps are compared. */
export interface VerificationSequence {
  prompt: Int32Array;
  response: Int32Array;
}

/** Computes the logps of each response's tokens under the policy in our own engine, in nats. */
export type PolicyLogps = (sequences: readonly VerificationSequence[], signal?: AbortSignal) => Promise<TokenLogps>;

/** A GGUF file, and that of an adapter to load over it. */
export interface LoadedFile {
  path: string;
  adapterPath?: string | undefined;
}

/** A GGUF file that does what was trained. */
export interface Verified {
  verification: Verification;
  /** What llama.cpp is known to do differently; usually none. */
  caveats: string[];
  /** Logps of the responses under the policy. */
  policyLogps: TokenLogps;
}

/**
 * Compares a GGUF file in llama.cpp, with the file of an adapter over it if there is one, with what was trained: first how it
 * reads texts (see `verifyText`), then the logps of sequences with those of the policy. Throws VERIFICATION_FAILED with both
 * differences in its metadata if they are too large (see `requireSame`) or not finite, which for quantised types
 * `quantizationCost` decides; INVALID_FILE if llama.cpp cannot open the file, INVALID_ARGUMENT if there are no sequences, and
 * INTERNAL if the process of llama.cpp dies. If the signal aborts, all work stops and the error is arbitrary.
 */
export async function verifyGguf(
  options: LoadedFile & {
    type: GgufType;
    text: TextExpectation;
    sequences: readonly VerificationSequence[];
    policyLogps: PolicyLogps;
    signal?: AbortSignal;
  },
): Promise<Verified> {
  const { path, type, text, sequences, signal } = options;
  if (sequences.length === 0) throw new PairwiseError('INVALID_ARGUMENT', 'there are no sequences to verify with');
  const judge = await openFor(options, sequences);
  return untilAborted(judge, signal, async () => {
    const header = await headerOf(path);
    const caveats = await verifyText(judge, header, type, text);
    const logps = await fileLogps(judge, sequences);
    const policyLogps = await options.policyLogps(sequences, signal);
    const { tokenCount, ...differences } = differencesOf(logps, policyLogps);
    const [routed, gelu] = [isRouted(header), hasGelu(header)];
    const tolerance = isQuantized(type) ? 0 : requireSame(differences, { type, exact: type, routed, gelu });
    if (!isQuantized(type) && differences.maxAbsLogpDiff > tolerance)
      caveats.push(routingCaveat(differences, tolerance));
    const counts = { sequenceCount: sequences.length, tokenCount, textCount: text.texts.length };
    const verification = { ...differences, ...counts, tolerance, quantizationCost: undefined };
    return { verification, caveats, policyLogps };
  });
}

/** Opens a file in llama.cpp, with as large a context as the sequences need. */
export function openFor({ path, adapterPath }: LoadedFile, sequences: readonly VerificationSequence[]): Promise<Judge> {
  const contextTokens = Math.max(...wholeSequences(sequences).map(({ length }) => length));
  return openJudge(path, { adapterPath, contextTokens });
}

/** Each prompt with its response. */
export function wholeSequences(sequences: readonly VerificationSequence[]): Int32Array[] {
  return sequences.map(({ prompt, response }) => Int32Array.from([...prompt, ...response]));
}

/** The logps of the responses' tokens in llama.cpp. */
export async function fileLogps(judge: Judge, sequences: readonly VerificationSequence[]): Promise<Float64Array[]> {
  const logps = await judge.tokenLogps(wholeSequences(sequences));
  return logps.map((all, index) => all.subarray(sequences[index]!.prompt.length - 1));
}

/** Works with a judge, which is closed at the end and as soon as the signal aborts. */
export async function untilAborted<T>(
  judge: Judge,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const stop = () => void judge.close();
  signal?.addEventListener('abort', stop);
  try {
    signal?.throwIfAborted();
    return await work();
  } finally {
    signal?.removeEventListener('abort', stop);
    await judge.close();
  }
}

/** Whether a router decides which experts of the model a token goes through. */
export function isRouted({ metadata }: GgufHeader): boolean {
  return [...metadata.keys()].some((key) => key.endsWith('.expert_count'));
}

/**
 * llama.cpp looks the GELU up in a table of 11 bits, in F32 files too. In tiny Gemmas that moves logps by 0.4 times what F16
 * moves them by, and F16 moves those of SmolLM2-135M by up to 0.062 nats.
 */
const geluTolerance = 0.05;

/** Whether the model of a file has a GELU: the Gemmas. */
function hasGelu({ metadata }: GgufHeader): boolean {
  return String(metadata.get('general.architecture')?.value).startsWith('gemma');
}

/**
 * Returns the tolerance of an unquantised type. Throws VERIFICATION_FAILED if the largest difference from our own engine is
 * above it or not finite. In a 16-bit model with experts the mean counts: llama.cpp rounds activations to the file's type,
 * which sends a token whose experts are nearly equal through others. `exact` is the type of the file that differs: that of
 * the artifact, or what it was made from. `gelu` is whether the model has a GELU (default: no).
 */
export function requireSame(
  { maxAbsLogpDiff, meanAbsLogpDiff }: Differences,
  options: { type: GgufType; exact: Exclude<GgufType, QuantizedType>; routed: boolean; gelu?: boolean },
): number {
  const { type, exact, routed, gelu } = options;
  const byMean = routed && exact !== 'F32';
  const largest = gelu && exact === 'F32' ? geluTolerance : fileTypes[exact].tolerance;
  const tolerance = byMean ? fileTypes[exact].meanTolerance : largest;
  const [kind, figure] = byMean ? ['mean', meanAbsLogpDiff] : ['largest', maxAbsLogpDiff];
  // NaN <= tolerance is false.
  if (figure <= tolerance) return tolerance;
  const made = isQuantized(type) ? 'quantised' : 'rounded';
  const file = type === exact ? '' : `was ${made} from a file that `;
  throw verificationFailed(
    type,
    `${file}differs from the policy: the ${kind} difference per token is ${figure} nats, but at most ${tolerance} is allowed`,
    { maxAbsLogpDiff: String(maxAbsLogpDiff), meanAbsLogpDiff: String(meanAbsLogpDiff) },
  );
}

function routingCaveat({ maxAbsLogpDiff, meanAbsLogpDiff }: Differences, tolerance: number): string {
  const [largest, mean] = [maxAbsLogpDiff, meanAbsLogpDiff].map((nats) => nats.toPrecision(3));
  return `llama.cpp sends some tokens through other experts, because it rounds more: the log probability of a token differs by up to ${largest} nats, and by ${mean} nats on average, where ${tolerance} is allowed`;
}
