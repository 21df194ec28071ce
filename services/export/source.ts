import { open } from 'node:fs/promises';
import type { Checkpoint, Encoding, LoraConfig, Model, StartExportRequest } from '@pairwise/api';
import { parseDigest } from '@pairwise/fingerprint';
import { loraLayout, storedBaseModel, storedFolder, type BaseModel } from '@pairwise/model';
import type { ModelFolder } from '@pairwise/safetensors';
import type { BlobStore } from '@pairwise/store';
import { resolveHyperparameters, unpackState } from '@pairwise/training';
import type { GgufModel } from './gguf.ts';
import type { Peers } from './peers.ts';
import { servingOf } from './serving.ts';
import { baseWeights, mergedWeights, type Adapter, type ExportWeights } from './weights.ts';

/** What is exported: a base model, with or without the adapter of a checkpoint. */
export interface Source extends AsyncDisposable {
  model: Model;
  /** The model's files by name. */
  folder: ModelFolder;
  /** Its weight files are absolute paths, valid until the source is disposed of. */
  baseModel: BaseModel;
  /** The checkpoint and its adapter; undefined for a base model. */
  checkpoint: Checkpoint | undefined;
  adapter: Adapter | undefined;
  /** What was trained on; undefined if the request names none. */
  encoding: Encoding | undefined;
}

/** Opens what a request names. Throws NOT_FOUND, the errors of a damaged checkpoint, and the signal's reason. */
export async function openExportSource(
  { blobs, peers }: { blobs: BlobStore; peers: Peers },
  { source, encoding: encodingName }: Pick<StartExportRequest, 'source' | 'encoding'>,
  signal: AbortSignal,
): Promise<Source> {
  const checkpoint =
    source?.$case === 'checkpoint'
      ? (await peers.training.getCheckpoint({ name: source.value }, { signal })).checkpoint
      : undefined;
  const name = checkpoint?.model ?? source?.value ?? '';
  const { model } = await peers.model.getModel({ name }, { signal });
  const { encoding } = encodingName === '' ? {} : await peers.dataset.getEncoding({ name: encodingName }, { signal });
  const files = model!.files.map((file) => ({ ...file, digest: parseDigest(file.digest) }));
  await using opening = new AsyncDisposableStack();
  const baseModel = opening.use(await storedBaseModel(files, blobs));
  const adapter =
    checkpoint === undefined
      ? undefined
      : readAdapter(await blobs.get(parseDigest(checkpoint.digest)), baseModel, checkpoint.lora);
  const holds = opening.move();
  const folder = storedFolder(files, blobs);
  const opened = { model: model!, folder, baseModel, checkpoint, adapter, encoding };
  return { ...opened, [Symbol.asyncDispose]: () => holds.disposeAsync() };
}

function readAdapter(bytes: Uint8Array, { config }: BaseModel, settings: LoraConfig | undefined): Adapter {
  const { tuning } = resolveHyperparameters({ tuning: { $case: 'lora', value: settings ?? {} } }, 'checkpoint');
  const lora = tuning.value;
  return { lora, parameters: unpackState(bytes, loraLayout(config, lora)).parameters };
}

/** Prepares a source for the GGUF writer. */
export async function ggufModel(source: Source, baseName: string, signal: AbortSignal): Promise<GgufModel> {
  const { folder, baseModel, encoding } = source;
  return {
    name: baseName,
    config: baseModel.config,
    weights: exportWeights(source),
    ...(await servingOf(folder, encoding, signal)),
  };
}

/** The weights of the base model, with the adapter merged in if there is one. */
export function exportWeights({ baseModel, adapter }: Source): ExportWeights {
  const base = baseWeights(baseModel, readRange);
  return adapter === undefined ? base : mergedWeights(base, baseModel.config, adapter);
}

/** Reads a range of bytes of a file; fewer if the file ends before. */
async function readRange(path: string, start: number, end: number): Promise<Uint8Array> {
  await using file = await open(path);
  const bytes = new Uint8Array(end - start);
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0) return bytes.subarray(0, done);
    done += bytesRead;
  }
  return bytes;
}
