import { architectures } from '@pairwise/model';
import type { GgufType } from '@pairwise/gguf';
import { inFolder } from './files.ts';
import { sourceType, writeExact, type GgufModel } from './gguf.ts';
import { differencesOf, type Differences, type TokenLogps } from './pairFigures.ts';
import { fileLogps, openFor, requireSame, untilAborted, type VerificationSequence } from './verify.ts';

/** A model before its weights are rounded, and what our own engine computes with it. */
export interface ExactModel {
  model: GgufModel;
  /** Logps of the responses. */
  logps: TokenLogps;
}

/**
 * Verifies what a file of a rounded type was made from: the same tensors in a temporary F32 file in `folder`, which is made
 * and removed, with the file of an adapter over it if there is one. Rounding hides faults that this finds. Throws the errors of
 * `requireExact`, `writeGgufArtifact` and `openJudge`.
 */
export function verifyExact(
  folder: string,
  options: ExactModel & {
    type: GgufType;
    adapterPath: string | undefined;
    sequences: readonly VerificationSequence[];
  },
  signal: AbortSignal,
): Promise<void> {
  const { type, model, adapterPath, logps, sequences } = options;
  return inFolder(folder, async () => {
    const path = await writeExact(folder, model, signal);
    const judge = await openFor({ path, adapterPath }, sequences);
    const found = await untilAborted(judge, signal, () => fileLogps(judge, sequences));
    requireExact(type, model, differencesOf(found, logps));
  });
}

/**
 * Throws VERIFICATION_FAILED if an F32 file with the tensors of a file of `type`, before they were rounded, is not the model of
 * our own engine. Mixtures of experts that are stored in 16 bits have the limits of such files, as in `requireSame`.
 */
export function requireExact(type: GgufType, model: GgufModel, differences: Differences): void {
  const { config } = model;
  const routed = config.experts !== undefined;
  const gelu = architectures[config.architecture].activation !== 'silu';
  requireSame(differences, { type, exact: routed ? sourceType(model) : 'F32', routed, gelu });
}
