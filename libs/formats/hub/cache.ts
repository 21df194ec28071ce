import { randomUUID } from 'node:crypto';
import { mkdir, readFile, readlink, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * The cache of one repository, in the layout that huggingface_hub and others share
 * (https://huggingface.co/docs/hub/local-cache): `blobs/<etag>`, `refs/<revision>`, `snapshots/<commit>/<file>`.
 */
export interface RepositoryCache {
  path: string;
  blob(etag: string): string;
  snapshot(commit: string): string;
}

export function repositoryCache(home: string, repoId: string): RepositoryCache {
  const path = join(home, 'hub', `models--${repoId.replace('/', '--')}`);
  return {
    path,
    blob: (etag) => join(path, 'blobs', etag),
    snapshot: (commit) => join(path, 'snapshots', commit),
  };
}

export const isCommit = (text: string) => /^[0-9a-f]{40}$/.test(text);

/** The commit to which a revision pointed at its last download; undefined if there was none. */
export async function cachedCommit(cache: RepositoryCache, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  const commit = await readFile(join(cache.path, 'refs', revision), 'utf8').catch(() => '');
  return isCommit(commit.trim()) ? commit.trim() : undefined;
}

/** Stores the commit to which a revision points. */
export async function noteCommit(cache: RepositoryCache, revision: string, commit: string): Promise<void> {
  if (isCommit(revision)) return;
  const path = join(cache.path, 'refs', revision);
  await mkdir(dirname(path), { recursive: true });
  const incoming = `${path}.${randomUUID()}`;
  await writeFile(incoming, commit);
  await rename(incoming, path);
}

/** Whether the cache has the blob in its full size. */
export async function hasBlob(cache: RepositoryCache, etag: string, sizeBytes: number): Promise<boolean> {
  const stats = await stat(cache.blob(etag)).catch(() => undefined);
  return stats?.isFile() === true && stats.size === sizeBytes;
}

/** Links a file of a snapshot to its blob. */
export async function linkBlob(cache: RepositoryCache, commit: string, name: string, etag: string): Promise<void> {
  const path = join(cache.snapshot(commit), name);
  const target = join('..', '..', 'blobs', etag);
  if ((await readlink(path).catch(() => undefined)) === target) return;
  await mkdir(dirname(path), { recursive: true });
  const incoming = `${path}.${randomUUID()}`;
  await symlink(target, incoming);
  await rename(incoming, path);
}
