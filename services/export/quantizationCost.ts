import { join } from 'node:path';
import { QuantizationCost, QuantizedFigures } from '@pairwise/api';
import type { QuantizedType } from '@pairwise/gguf';
import { quantizeGguf, type Importance } from '@pairwise/llamacpp';
import { requireExact, type ExactModel } from './exactFile.ts';
import { inFolder } from './files.ts';
import { writeExact } from './gguf.ts';
import { differencesOf, pairFigures, type TokenLogps } from './pairFigures.ts';
import { verificationFailed } from './verificationFailed.ts';
import { openFor, untilAborted, wholeSequences, type LoadedFile, type VerificationSequence } from './verify.ts';

/** A quantised file, and the models with which it is compared. */
export interface QuantizedFile extends LoadedFile {
  type: QuantizedType;
  /** The policy that it was made from. */
  policy: ExactModel;
  /** The base model; the same as the policy if no adapter was trained. */
  base: ExactModel & Yardstick;
  isTrained: boolean;
  /** The chosen and the rejected response of each pair in turn. */
  sequences: readonly VerificationSequence[];
}

/** How a file of the base model is quantised to the same type. */
export interface Yardstick {
  /** The file, if there is one already. */
  path: string | undefined;
  /** For types that are quantised with an importance matrix. */
  importance: Importance | undefined;
  threads: number;
  /** Called with the file while it exists. */
  visit: (path: string) => Promise<void>;
}

/**
 * Measures what quantising costs, and what it costs the base model as a yardstick. Writes temporary files of both, one
 * after the other, into `folder`, which is made and removed. Throws VERIFICATION_FAILED if the file is further from what it
 * was made from than `divergenceLimit` allows, or if that is not the policy of our own engine; and the errors of
 * `writeGgufArtifact` and `openJudge`.
 */
export async function quantizationCost(
  folder: string,
  file: QuantizedFile,
  signal: AbortSignal,
): Promise<QuantizationCost> {
  const { type, policy, base, isTrained, sequences } = file;
  const reference = isTrained ? base.logps : undefined;
  const compare = (loaded: LoadedFile, exact: string, model: ExactModel) =>
    compared({ ...loaded, type, exact, model, reference, sequences, signal });
  const ofPolicy = await inFolder(folder, async () =>
    compare(file, await writeExact(folder, policy.model, signal), policy),
  );
  const ofBase = await inFolder(folder, async () => {
    const exact = await writeExact(folder, base.model, signal);
    const path = base.path ?? (await quantized(exact, file, signal));
    await base.visit(path);
    return compare({ path }, exact, base);
  });
  requireClose(type, ofPolicy.klDivergence, ofBase.klDivergence);
  const cost = QuantizationCost.create({ policy: ofPolicy, base: ofBase });
  if (reference === undefined) return cost;
  cost.meanAbsLogpChange = differencesOf(policy.logps, reference).meanAbsLogpDiff;
  return Object.assign(cost, pairFigures(policy.logps, reference));
}

/**
 * The largest KL divergence of a policy's file from what it was made from, in nats per token, if the base model's file has
 * the given one. Training hardly changes what a type costs: on stories260K, padded to rows of 256 weights, twelve types and
 * adapters of three strengths diverged 0.5 to 1.04 times as far as the base model did. With the weights of another layer in
 * one matrix it was 3.6 to 2,000 times, and 1.4 to 2.1 times with Q2_K, which costs 1.7 nats there by itself. The addend is
 * about what Q8_0 costs, for files so close to the original that rounding decides.
 */
export function divergenceLimit(baseDivergence: number): number {
  return 1.5 * baseDivergence + 0.001;
}

function requireClose(type: QuantizedType, divergence: number, baseDivergence: number): void {
  const limit = divergenceLimit(baseDivergence);
  // A NaN is not close either.
  if (divergence <= limit) return;
  throw verificationFailed(
    type,
    `differs from the policy by more than quantising explains: its KL divergence is ${divergence} nats per token, but at most ${limit} is allowed, because that of the quantised base model is ${baseDivergence}`,
    { klDivergence: String(divergence), baseKlDivergence: String(baseDivergence) },
  );
}

/**
 * A caveat for a file whose noise, the mean difference of its logps from the policy's, is more than half of what training
 * changed on the same tokens.
 */
export function noiseCaveat(type: QuantizedType, { policy, meanAbsLogpChange }: QuantizationCost): string | undefined {
  const noise = policy!.meanAbsLogpDiff;
  if (meanAbsLogpChange === undefined || noise <= meanAbsLogpChange / 2) return undefined;
  const [by, of] = [noise, meanAbsLogpChange].map((nats) => nats.toPrecision(3));
  return `quantising to ${type} changes the log probability of a token by ${by} nats on average, which is more than half of the ${of} nats by which training changed it; a larger type keeps more of the training`;
}

/** Quantises a file to a temporary one beside it. */
async function quantized(input: string, { type, base }: QuantizedFile, signal: AbortSignal): Promise<string> {
  const output = join(input, '../yardstick.gguf');
  const { importance, threads } = base;
  await quantizeGguf({ input, output, type, threads, signal, ...(importance && { importance }) });
  return output;
}

/** Runs a quantised file beside the one that it was made from, which must be the model in our own engine. */
async function compared(
  options: LoadedFile & {
    type: QuantizedType;
    exact: string;
    model: ExactModel;
    reference: TokenLogps | undefined;
    sequences: readonly VerificationSequence[];
    signal: AbortSignal;
  },
): Promise<QuantizedFigures> {
  const { type, exact, model, reference, sequences, signal } = options;
  const judge = await openFor(options, sequences);
  return untilAborted(judge, signal, async () => {
    const judged = wholeSequences(sequences).map((ids, index) => ({ ids, from: sequences[index]!.prompt.length }));
    const { klDivergence, topAgreement, logps, otherLogps } = await judge.divergenceFrom(exact, judged);
    const before = differencesOf(otherLogps, model.logps);
    requireExact(type, model.model, before);
    return QuantizedFigures.create({
      klDivergence,
      top1Agreement: topAgreement,
      meanAbsLogpDiff: differencesOf(logps, model.logps).meanAbsLogpDiff,
      exactMaxAbsLogpDiff: before.maxAbsLogpDiff,
      ...(reference && pairFigures(logps, reference)),
    });
  });
}
