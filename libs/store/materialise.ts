import { randomUUID } from 'node:crypto';
import { link, lstat, mkdir, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';

const notLinkable = new Set(['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP']);

/** Hard link; where the file system cannot, or it is another one, a symbolic one. */
async function linkEitherWay(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!notLinkable.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await symlink(await realpath(from), to);
  }
}

/** Whether both paths lead to the same file. */
async function isSame(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([one, other].map((path) => stat(path).catch(() => undefined)));
  return a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev;
}

function checkPath(path: string): void {
  const names = path.split('/');
  if (!/[\0\\]/.test(path) && names.every((name) => name !== '' && name !== '.' && name !== '..')) return;
  throw new PairwiseError(
    'INVALID_ARGUMENT',
    `the file path ${JSON.stringify(path)} is no plain path inside a folder`,
    {
      metadata: { path },
    },
  );
}

/** Makes the folders above `path`, one by one: one that is a link could lead out of `folder`. */
async function makeParents(folder: string, path: string): Promise<void> {
  const names = path.split('/').slice(0, -1);
  for (let depth = 1; depth <= names.length; depth += 1) {
    const parent = join(folder, ...names.slice(0, depth));
    await mkdir(parent, { recursive: true });
    if ((await lstat(parent)).isDirectory()) continue;
    throw new PairwiseError('INVALID_ARGUMENT', `${parent} is a link, not a folder`);
  }
}

/** See `BlobStore.materialise`. */
export async function linkFiles(
  files: readonly { path: string; digest: Digest }[],
  folder: string,
  blobs: { localPath: (digest: Digest) => Promise<string>; verified: (digest: Digest) => Promise<string> },
): Promise<void> {
  files.forEach(({ path }) => {
    checkPath(path);
  });
  await mkdir(folder, { recursive: true });
  for (const { path, digest } of files) {
    const target = join(folder, path);
    if (await isSame(target, await blobs.localPath(digest))) continue;
    const blob = await blobs.verified(digest);
    await makeParents(folder, path);
    // Renamed into place: another process sees the old file or the new one, never none.
    const temporary = join(dirname(target), `.${randomUUID()}`);
    await linkEitherWay(blob, temporary);
    await rename(temporary, target);
    // Renaming a hard link onto another one of the same file does nothing at all.
    await rm(temporary, { force: true });
  }
}
