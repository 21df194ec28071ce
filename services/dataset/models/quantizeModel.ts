import {
  baseQuantizationFromJSON,
  baseQuantizationToJSON,
  QuantizationState,
  type ModelQuantization,
} from '@pairwise/api';
import type { Attempt } from '@pairwise/durable';
import { quantizedLinears, readBaseModel } from '@pairwise/model';
import { engineQuantization, statusOf } from '@pairwise/rpc';
import { streamedSize, streamSafetensors } from '@pairwise/safetensors';
import type { BlobStore } from '@pairwise/store';
import { progressMs, untilAborted } from './importModel.ts';
import { changeUnlessDeleted, folderOf, type Models } from './models.ts';
import type { QuantizeInput } from './quantizeWork.ts';

export interface QuantizeModelDeps {
  blobs: BlobStore;
  models: Models;
}

/** Stores the linear layers of a model in a quantised form, and its digest with the model. */
export async function quantizeModel(
  deps: QuantizeModelDeps,
  input: QuantizeInput,
  { activity }: Attempt,
): Promise<void> {
  try {
    await activity('quantize', (signal) => quantize(deps, input, signal));
  } catch (error) {
    const failed = { state: QuantizationState.FAILED, error: statusOf(error) };
    await activity('fail', () => change(deps.models, input, failed), { evenIfCancelled: true });
  }
}

async function quantize({ blobs, models }: QuantizeModelDeps, input: QuantizeInput, signal: AbortSignal) {
  const folder = folderOf((await models.get(input.name)).model, blobs);
  const type = engineQuantization(baseQuantizationFromJSON(input.type))!;
  const tensors = quantizedLinears(folder, await readBaseModel(folder), type);
  const sizeBytes = BigInt(streamedSize(tensors));
  const save = (written: number) => change(models, input, { sizeBytes, writtenSizeBytes: BigInt(written) });
  const { digest } = await blobs.put(reported(untilAborted(streamSafetensors(tensors), signal), save));
  await change(models, input, {
    state: QuantizationState.READY,
    digest,
    sizeBytes,
    writtenSizeBytes: sizeBytes,
  });
}

/** Passes chunks on, and from time to time saves how many bytes those before had. */
async function* reported(
  chunks: AsyncIterable<Uint8Array>,
  save: (written: number) => Promise<void>,
): AsyncGenerator<Uint8Array> {
  let [written, savedAt] = [0, 0];
  for await (const chunk of chunks) {
    if (Date.now() - savedAt >= progressMs) {
      savedAt = Date.now();
      await save(written);
    }
    written += chunk.byteLength;
    yield chunk;
  }
}

/** Changes the quantisation, unless this attempt has ended or the model was deleted. */
async function change(
  models: Models,
  { name, type, attempt }: QuantizeInput,
  changes: Partial<ModelQuantization>,
): Promise<void> {
  await changeUnlessDeleted(models, name, ({ model, quantizationAttempts }) => {
    const own = model.quantizations.find((each) => baseQuantizationToJSON(each.type) === type);
    if (own?.state !== QuantizationState.RUNNING || quantizationAttempts[type] !== attempt) return 'unchanged';
    Object.assign(own, changes);
    return 'changed';
  });
}
