import { PushState, type Artifact, type Push } from '@pairwise/api';
import type { Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { parseDigest } from '@pairwise/fingerprint';
import { pushFiles, type HubAccess, type PushFile } from '@pairwise/hub';
import { hasEnded, statusOf } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import type { Exports, Fence } from './exports.ts';
import { artifactOf, exportOf, type Pushes } from './pushes.ts';

export interface PusherDeps {
  blobs: BlobStore;
  exports: Exports;
  pushes: Pushes;
  hub: HubAccess;
}

/** Progress is written to the database at most this often. */
const progressMs = 500;

/**
 * Pushes an artifact to the hub in one activity, which may run again after a crash: files that the hub has are not
 * uploaded again.
 */
export async function runPush(deps: PusherDeps, name: string, { activity, fence }: Attempt): Promise<void> {
  const alter = (values: Partial<Push>) => change(deps.pushes, name, fence, values);
  try {
    await activity('push', async (signal) => {
      await alter({ state: PushState.RUNNING });
      const { commit, url } = await push(deps, name, alter, signal);
      await alter({ state: PushState.SUCCEEDED, commit, url });
    });
  } catch (error) {
    const cancelled = error instanceof PairwiseError && error.reason === 'CANCELLED';
    const end = cancelled ? { state: PushState.CANCELLED } : { state: PushState.FAILED, error: statusOf(error) };
    await activity('fail', () => unlessDeleted(alter(end)), { evenIfCancelled: true });
  }
}

async function push(
  { blobs, exports, pushes, hub }: PusherDeps,
  name: string,
  alter: (values: Partial<Push>) => Promise<void>,
  signal: AbortSignal,
) {
  const { repoId, revision, private: isPrivate, commitMessage } = await pushes.get(name);
  const { artifacts } = (await exports.get(exportOf(name))).export;
  const artifact = artifacts.find((each) => each.name === artifactOf(name))!;
  let savedAt = 0;
  let saving: Promise<unknown> = Promise.resolve();
  const onProgress = ({ pushedBytes, totalBytes }: { pushedBytes: number; totalBytes: number }) => {
    if (Date.now() - savedAt < progressMs && pushedBytes < totalBytes) return;
    savedAt = Date.now();
    // The push continues even if its progress cannot be saved.
    saving = saving.then(() => alter({ pushedSizeBytes: BigInt(pushedBytes) })).catch(() => undefined);
  };
  const target = { repoId, branch: revision, isPrivate, message: commitMessage };
  try {
    return await pushFiles(hub, target, filesOf(artifact, blobs), { onProgress, signal });
  } finally {
    await saving;
  }
}

function filesOf({ files }: Artifact, blobs: BlobStore): PushFile[] {
  return files.map(({ path, sizeBytes, digest }) => ({
    path,
    sizeBytes: Number(sizeBytes),
    digest,
    read: (start, end) => blobs.read(parseDigest(digest), { start, end }),
  }));
}

/** Changes a push that has not ended. */
async function change(pushes: Pushes, name: string, fence: Fence, values: Partial<Push>): Promise<void> {
  await pushes.change(name, async (push, tx) => {
    await fence(tx);
    if (hasEnded(PushState, push)) return 'unchanged';
    Object.assign(push, values, { updateTime: new Date() });
    return 'changed';
  });
}

async function unlessDeleted(change: Promise<void>): Promise<void> {
  await change.catch((error: unknown) => {
    if (!(error instanceof PairwiseError) || error.reason !== 'NOT_FOUND') throw error;
  });
}
