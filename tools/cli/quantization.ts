import { BaseQuantization, QuantizationState, type ModelQuantization, type Run } from '@pairwise/api';
import { enumName, errorOf, resolveBaseQuantization } from '@pairwise/rpc';
import { formatBytes, formatEnum } from './output.ts';

/** The quantisation of the base model that a run trains on; empty if there is none. */
export function runQuantization({ resolvedSpec }: Run): string {
  const type = resolveBaseQuantization(resolvedSpec?.training?.baseQuantization);
  return type === BaseQuantization.NONE ? '' : enumName(BaseQuantization, type);
}

/** The quantisations of a model, as in `NF4 ready (74.3 MB), INT8 running (12.0 MB of 135 MB)`. */
export function modelQuantizations(quantizations: readonly ModelQuantization[]): string {
  return quantizations
    .map(
      (each) =>
        `${enumName(BaseQuantization, each.type)} ${formatEnum(QuantizationState, each.state)} (${detail(each)})`,
    )
    .join(', ');
}

function detail({ state, error, sizeBytes, writtenSizeBytes }: ModelQuantization): string {
  if (state === QuantizationState.FAILED) return errorOf(error).message;
  const size = formatBytes(sizeBytes);
  return state === QuantizationState.READY ? size : `${formatBytes(writtenSizeBytes)} of ${size}`;
}
