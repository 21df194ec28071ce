import { ModelState, type FileInfo } from '@pairwise/api';
import { retryKilled, work, type Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { digestOfFiles, type Digest } from '@pairwise/fingerprint';
import type { LocalModel, ModelLocation, OpenedModel } from '@pairwise/hub';
import { storedFolder } from '@pairwise/model';
import { statusOf } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { checkModel } from './inspect.ts';
import { changeUnlessDeleted, type ModelRecord, type Models } from './models.ts';
import { openSource, type SourceOptions } from './modelSource.ts';

export interface ImportInput {
  /** Resource name of the model. */
  name: string;
  location: ModelLocation;
}

/** The queued import of a model. */
export const importModelWork = work<ImportInput>('bring-in', 'models');

export interface ImportModelDeps {
  blobs: BlobStore;
  models: Models;
  sources: SourceOptions;
}

type StoredFile = FileInfo & { digest: Digest };

/** Progress is written to the database at most this often. */
export const progressMs = 500;

/** Copies a model's files into the blob store and checks the copies, so that what was checked is what is used. */
export async function importModel(deps: ImportModelDeps, input: ImportInput, { activity }: Attempt): Promise<void> {
  try {
    await activity('bring in', (signal) => copyAndCheck(deps, input, signal));
  } catch (error) {
    await activity('fail', () => fail(deps.models, input.name, error), { evenIfCancelled: true });
  }
}

async function copyAndCheck(
  { blobs, models, sources }: ImportModelDeps,
  { name, location }: ImportInput,
  signal: AbortSignal,
): Promise<void> {
  const { signature } = await models.get(name);
  const before = await openSource(sources, location);
  if (before.signature !== signature) throw changed();
  const local = await download(models, name, before.opened, signal);
  const files = await storeFiles(blobs, local, signal);
  if ((await openSource(sources, location)).signature !== signature) throw changed();
  const description = await retryKilled(signal, () => checkModel(storedFolder(files, blobs), signal));
  await models.change(name, ({ model }) => {
    const ready = { state: ModelState.READY, digest: digestOfFiles(files), receivedSizeBytes: model.totalSizeBytes };
    Object.assign(model, description, ready, { files });
    return 'changed';
  });
}

function changed(): PairwiseError {
  return new PairwiseError('INVALID_FILE', "the model's files changed while they were imported; import it again");
}

async function download(models: Models, name: string, opened: OpenedModel, signal: AbortSignal): Promise<LocalModel> {
  let savedAt = 0;
  let saving: Promise<unknown> = Promise.resolve();
  const onProgress = ({ receivedBytes }: { receivedBytes: number }) => {
    if (Date.now() - savedAt < progressMs) return;
    savedAt = Date.now();
    saving = saving.then(() => saveProgress(models, name, BigInt(receivedBytes)));
  };
  const local = await opened.download({ onProgress, signal });
  await saving;
  return local;
}

/** The import continues even if its progress cannot be saved, for example because the model was deleted. */
async function saveProgress(models: Models, name: string, receivedBytes: bigint): Promise<void> {
  const received = ({ model }: ModelRecord) => {
    model.receivedSizeBytes = receivedBytes;
    return 'changed' as const;
  };
  await models.change(name, received).catch((error: unknown) => {
    if (!(error instanceof PairwiseError)) throw error;
  });
}

async function storeFiles(blobs: BlobStore, local: LocalModel, signal: AbortSignal): Promise<StoredFile[]> {
  const files: StoredFile[] = [];
  for (const { path, digest } of local.files) {
    const content = untilAborted(local.stream(path), signal);
    const put = await blobs.put(content, digest === undefined ? {} : { expectedDigest: digest });
    files.push({ path, digest: put.digest, sizeBytes: BigInt(put.sizeBytes) });
  }
  return files;
}

/** Passes chunks on, and throws the signal's reason once the signal is aborted. */
export async function* untilAborted(
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    yield chunk;
  }
}

/** Records why the import failed, unless the model was deleted meanwhile. */
async function fail(models: Models, name: string, error: unknown): Promise<void> {
  const failed = ({ model }: ModelRecord) => {
    if (model.state !== ModelState.IMPORTING) return 'unchanged' as const;
    model.state = ModelState.FAILED;
    model.error = statusOf(error);
    return 'changed' as const;
  };
  await changeUnlessDeleted(models, name, failed);
}
