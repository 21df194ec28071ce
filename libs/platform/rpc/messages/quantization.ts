import { BaseQuantization, baseQuantizationToJSON, FileInfo, QuantizationState, type Model } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';

/** How the linear layers of a base model are stored. Default: NONE. */
export function resolveBaseQuantization(type: BaseQuantization | undefined): BaseQuantization {
  return type === undefined || type === BaseQuantization.UNSPECIFIED ? BaseQuantization.NONE : type;
}

/** The engine's name of a quantisation; undefined for none. */
export function engineQuantization(type: BaseQuantization): 'INT8' | 'NF4' | undefined {
  if (type === BaseQuantization.INT8) return 'INT8';
  return type === BaseQuantization.NF4 ? 'NF4' : undefined;
}

/**
 * The file with the quantised linear layers of a model; undefined if there is no quantisation. Throws WRONG_STATE for
 * `field`, the one that asks for the quantisation, unless it is READY.
 */
export function quantizedFile(model: Model, type: BaseQuantization, field: string): FileInfo | undefined {
  if (resolveBaseQuantization(type) === BaseQuantization.NONE) return undefined;
  const found = model.quantizations.find((each) => each.type === type);
  if (found?.state === QuantizationState.READY) {
    return FileInfo.create({ path: 'quantized.safetensors', digest: found.digest, sizeBytes: found.sizeBytes });
  }
  const message = `${field}: '${model.name}' has no ${baseQuantizationToJSON(type)} that is ready; call EnsureQuantization and wait until it is`;
  throw new PairwiseError('WRONG_STATE', message, { field, metadata: { name: model.name } });
}
