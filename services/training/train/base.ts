import { FileInfo, type StartTrainingRequest } from '@pairwise/api';
import { quantizedFile, resolveBaseQuantization } from '@pairwise/rpc';
import type { Peers } from '../peers.ts';
import type { ResolvedTrainingSpec } from '../trainings/record.ts';

/** How the linear layers of a training's base model are stored. */
export interface BaseInputs {
  /** The file with the quantised layers, as proto JSON. Default: none. */
  quantized?: unknown;
  /** Whether the reference is the same model with its layers stored in another way. Default: false. */
  referenceDiffers?: boolean;
}

/** Gathers how the base model is stored. Throws WRONG_STATE unless its quantisation is ready. */
export async function gatherBase(
  peers: Peers,
  request: StartTrainingRequest,
  { baseQuantization }: ResolvedTrainingSpec,
  signal: AbortSignal,
): Promise<BaseInputs> {
  const { model } = await peers.model.getModel({ name: request.model }, { signal });
  const { coverage } = await peers.reference.getCoverage({ name: request.coverage }, { signal });
  const layers = quantizedFile(model!, baseQuantization, 'spec.base_quantization');
  const [policy, reference] = [baseQuantization, coverage!.baseQuantization].map(resolveBaseQuantization);
  return { quantized: layers && FileInfo.toJSON(layers), referenceDiffers: policy !== reference };
}
