import { ModelState, type FileInfo } from '@pairwise/api';
import { thrice, work, type Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { digestOfFiles, type Digest } from '@pairwise/fingerprint';
import type { LocalModel, ModelLocation, OpenedModel } from '@pairwise/hub';
import { storedFolder } from '@pairwise/model';
import { statusOf } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { checkModel } from './inspect.ts';
import type { ModelRecord, Models } from './models.ts';
import { openSource, type Outside } from './modelSource.ts';

/** The import of a model, as it lies in the queue. */
export const bringInWork = work<{ name: string; location: ModelLocation }>('bring-in', 'models');

/** What bringing a model in works with. */
export interface BringingIn {
  blobs: BlobStore;
  models: Models;
  outside: Outside;
}

/** How often progress is noted. */
const progressMs = 500;

/** Brings a model's files into the blob store and checks them there: what is sealed is what was checked. */
export async function bringIn(
  parts: BringingIn,
  { name, location }: { name: string; location: ModelLocation },
  { step }: Attempt,
): Promise<void> {
  const { models } = parts;
  try {
    await step('bring in', (signal) => bringFiles(parts, name, location, signal));
  } catch (error) {
    await step('fail', () => fail(models, name, error), { evenIfCancelled: true });
  }
}

async function bringFiles(
  { blobs, models, outside }: BringingIn,
  name: string,
  location: ModelLocation,
  signal: AbortSignal,
): Promise<void> {
  const { signature } = await models.get(name);
  const before = await openSource(outside, location);
  if (before.signature !== signature) throw changed();
  const local = await download(models, name, before.opened, signal);
  const files = await storeFiles(blobs, local, signal);
  if ((await openSource(outside, location)).signature !== signature) throw changed();
  const described = await thrice(signal, () => checkModel(storedFolder(files, blobs), signal));
  await models.change(name, ({ model }) => {
    const ready = { state: ModelState.READY, digest: digestOfFiles(files), receivedSizeBytes: model.totalSizeBytes };
    Object.assign(model, described, ready, { files });
    return true;
  });
}

function changed(): PairwiseError {
  return new PairwiseError('INVALID_FILE', "the model's files changed while they were imported; import it again");
}

async function download(models: Models, name: string, opened: OpenedModel, signal: AbortSignal): Promise<LocalModel> {
  let notedAt = 0;
  let noting: Promise<unknown> = Promise.resolve();
  const onProgress = ({ receivedBytes }: { receivedBytes: number }) => {
    if (Date.now() - notedAt < progressMs) return;
    notedAt = Date.now();
    noting = noting.then(() => note(models, name, BigInt(receivedBytes)));
  };
  const local = await opened.download({ onProgress, signal });
  await noting;
  return local;
}

/** Progress that cannot be noted, since the model was deleted or the database is away, is no reason to stop. */
async function note(models: Models, name: string, receivedBytes: bigint): Promise<void> {
  const received = ({ model }: ModelRecord) => {
    model.receivedSizeBytes = receivedBytes;
    return true;
  };
  await models.change(name, received).catch((error: unknown) => {
    if (!(error instanceof PairwiseError)) throw error;
  });
}

async function storeFiles(
  blobs: BlobStore,
  local: LocalModel,
  signal: AbortSignal,
): Promise<(FileInfo & { digest: Digest })[]> {
  const files: (FileInfo & { digest: Digest })[] = [];
  for (const { path, digest } of local.files) {
    const content = untilAborted(local.stream(path), signal);
    const put = await blobs.put(content, digest === undefined ? {} : { expectedDigest: digest });
    files.push({ path, digest: put.digest, sizeBytes: BigInt(put.sizeBytes) });
  }
  return files;
}

async function* untilAborted(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    yield chunk;
  }
}

/** Notes why a model could not be imported; one that was deleted meanwhile has nobody to tell. */
async function fail(models: Models, name: string, error: unknown): Promise<void> {
  const failed = ({ model }: ModelRecord) => {
    if (model.state !== ModelState.IMPORTING) return false;
    model.state = ModelState.FAILED;
    model.error = statusOf(error);
    return true;
  };
  await models.change(name, failed).catch((thrown: unknown) => {
    if (!(thrown instanceof PairwiseError) || thrown.reason !== 'NOT_FOUND') throw thrown;
  });
}
