import { join } from 'node:path';
import { QuantizationCost, QuantizedFigures } from '@pairwise/api';
import type { QuantizedType } from '@pairwise/gguf';
import { quantizeGguf, type Importance } from '@pairwise/llamacpp';
import { inFolder } from './files.ts';
import { writeExact, type GgufModel } from './gguf.ts';
import { meanAbsDifference, pairFigures, type TokenLogps } from './pairFigures.ts';
import {
  fileLogps,
  openFor,
  untilAborted,
  wholeSequences,
  type LoadedFile,
  type VerificationSequence,
} from './verify.ts';

/** A quantised file, and what is known of it without running it again. */
export interface QuantizedFile extends LoadedFile {
  type: QuantizedType;
  /** The policy that it was made from. */
  policy: GgufModel;
  /** The chosen and the rejected response of each pair in turn. */
  sequences: readonly VerificationSequence[];
  /** Logps of the responses: of the file in llama.cpp, and of the policy in our own engine. */
  logps: { file: TokenLogps; policy: TokenLogps };
  /** Set if an adapter was trained: its base model, with the logps of the responses in our own engine. */
  reference: Reference | undefined;
}

/** The base model of an adapter. */
export interface Reference {
  base: GgufModel;
  /** Its file of the same type, if there is one already. */
  path: string | undefined;
  logps: TokenLogps;
  /** For types that are quantised with an importance matrix. */
  importance: Importance | undefined;
  /** Called with the base model's file of the same type while that exists. */
  visit: (path: string) => Promise<void>;
}

/**
 * Measures what quantising costs, and what it costs the base model as a yardstick. Writes temporary files of both, one
 * after the other, into `folder`, which is made and removed. Throws the errors of `writeGgufArtifact` and `openJudge`.
 */
export async function quantizationCost(
  folder: string,
  { path, adapterPath, type, policy, sequences, logps, reference }: QuantizedFile,
  signal: AbortSignal,
): Promise<QuantizationCost> {
  const cost = QuantizationCost.create({
    policy: await inFolder(folder, async () => {
      const exact = await writeExact(folder, policy, signal);
      const measured = await compared({ path, adapterPath, exact, sequences, signal });
      return figures(measured, { file: logps.file, exact: logps.policy, reference: reference?.logps });
    }),
  });
  if (reference === undefined) return cost;
  const { base, logps: unchanged, importance } = reference;
  cost.base = await inFolder(folder, async () => {
    const exact = await writeExact(folder, base, signal);
    const quantized = join(folder, 'yardstick.gguf');
    if (reference.path === undefined)
      await quantizeGguf({ input: exact, output: quantized, type, signal, ...(importance && { importance }) });
    const yardstick = reference.path ?? quantized;
    await reference.visit(yardstick);
    const measured = await compared({ path: yardstick, exact, sequences, signal });
    return figures(measured, { file: measured.logps, exact: unchanged, reference: unchanged });
  });
  cost.meanAbsLogpChange = meanAbsDifference(logps.policy, unchanged);
  return Object.assign(cost, pairFigures(logps.policy, unchanged));
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

/** Runs a quantised file beside the one that it was made from. */
async function compared(
  options: LoadedFile & { exact: string; sequences: readonly VerificationSequence[]; signal: AbortSignal },
) {
  const { exact, sequences, signal } = options;
  const judge = await openFor(options, sequences);
  return untilAborted(judge, signal, async () => {
    const judged = wholeSequences(sequences).map((ids, index) => ({ ids, from: sequences[index]!.prompt.length }));
    return { ...(await judge.divergenceFrom(exact, judged)), logps: await fileLogps(judge, sequences) };
  });
}

function figures(
  { klDivergence, topAgreement }: { klDivergence: number; topAgreement: number },
  { file, exact, reference }: { file: TokenLogps; exact: TokenLogps; reference: TokenLogps | undefined },
): QuantizedFigures {
  return QuantizedFigures.create({
    klDivergence,
    top1Agreement: topAgreement,
    meanAbsLogpDiff: meanAbsDifference(file, exact),
    ...(reference && pairFigures(file, reference)),
  });
}
