import { constants } from 'node:fs';
import { open, readdir, realpath, stat } from 'node:fs/promises';
import { basename, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import { checkTextSize, refuseGguf, refusePickle, selectFiles } from './files.ts';
import type { LocalModel, ModelFile, OpenedModel } from './opened.ts';

const chunkBytes = 1024 * 1024;

/** A file of a folder, with its path after resolving links. */
interface PlacedFile extends ModelFile {
  place: string;
}

/**
 * Opens a model folder below one of `roots`. Links are followed as long as they stay below the roots.
 * Throws PERMISSION_DENIED outside the roots, NOT_FOUND, INVALID_MODEL, UNSUPPORTED_FORMAT (see `selectFiles`).
 */
export async function openModelFolder(path: string, roots: readonly string[]): Promise<OpenedModel> {
  if (roots.length === 0) {
    throw new PairwiseError(
      'PERMISSION_DENIED',
      'this server may not read any folder; list the allowed ones in PAIRWISE_MODEL_ROOTS',
    );
  }
  const realRoots: string[] = [];
  for (const root of roots) realRoots.push(await realpath(root).catch(() => resolve(root)));
  // Checked before the file system is read, so that callers cannot find out what exists outside the roots.
  if (![...roots, ...realRoots].some((root) => isBelow(resolve(path), resolve(root)))) throw denied(path);
  const place = await placeOf(path, realRoots);
  if (!(await stat(place)).isDirectory()) {
    refuseGguf(basename(path));
    refusePickle(basename(path));
    throw new PairwiseError('INVALID_MODEL', `${path} is not a folder; a model is a folder in Hugging Face layout`);
  }
  return openPlaced(place, realRoots, () => undefined);
}

/** Opens a snapshot in the hub's cache. Its files are links to blobs; the name of a weight file's blob is its digest. */
export async function openSnapshot(path: string, cache: string): Promise<OpenedModel> {
  const root = await realpath(cache).catch(() => cache);
  return openPlaced(await placeOf(path, [root]), [root], (place) =>
    /^[0-9a-f]{64}$/.test(basename(place)) ? `sha256:${basename(place)}` : undefined,
  );
}

async function openPlaced(
  folder: string,
  roots: readonly string[],
  digestOf: (place: string) => ModelFile['digest'],
): Promise<OpenedModel> {
  const find = async (name: string): Promise<PlacedFile> => {
    const place = await placeOf(join(folder, name), roots);
    const stats = await stat(place);
    if (!stats.isFile()) throw new PairwiseError('INVALID_MODEL', `${name} is not a regular file`, { field: name });
    const digest = digestOf(place);
    return { path: name, sizeBytes: stats.size, place, ...(digest && { digest }) };
  };
  const selected = await selectFiles(await readdir(folder), async (name) => {
    const { place, sizeBytes } = await find(name);
    checkTextSize(name, sizeBytes);
    return readRange(place, 0, sizeBytes, name);
  });
  const files: PlacedFile[] = [];
  for (const name of selected) files.push(await find(name));
  return openedFiles(folder, files);
}

/** A model whose files are on this machine. */
function openedFiles(folder: string, placed: readonly PlacedFile[]): OpenedModel {
  const files = placed.map(({ path, sizeBytes, digest }): ModelFile => ({
    path,
    sizeBytes,
    ...(digest && { digest }),
  }));
  const byName = new Map(placed.map((file) => [file.path, file]));
  const find = (name: string) => {
    const file = byName.get(name);
    if (file !== undefined) return file;
    throw new PairwiseError('NOT_FOUND', `the model does not contain ${name}`, { field: name });
  };
  const local: LocalModel = {
    path: folder,
    files,
    stream: (name) => readStream(find(name)),
  };
  return {
    files,
    read: async (name, start, end) => readRange(find(name).place, start, end, name),
    download: ({ onProgress } = {}) => {
      const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      onProgress?.({ receivedBytes: totalBytes, totalBytes });
      return Promise.resolve(local);
    },
  };
}

async function placeOf(path: string, roots: readonly string[]): Promise<string> {
  let place: string;
  try {
    place = await realpath(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EACCES') {
      throw new PairwiseError('PERMISSION_DENIED', `the server's user does not have permission to read ${path}`, {
        cause,
      });
    }
    throw new PairwiseError('NOT_FOUND', `${path} does not exist on the server`, { cause });
  }
  if (roots.some((root) => isBelow(place, root))) return place;
  throw denied(path);
}

function denied(path: string): PairwiseError {
  return new PairwiseError(
    'PERMISSION_DENIED',
    `${path} is outside the folders that this server may read (PAIRWISE_MODEL_ROOTS)`,
  );
}

function isBelow(path: string, root: string): boolean {
  const way = relative(root, path);
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way));
}

/** Bytes `start` to `end` (exclusive) of a file. Throws INVALID_FILE if it is shorter. */
export async function readRange(place: string, start: number, end: number, name: string): Promise<Uint8Array> {
  await using file = await openPlace(place);
  const bytes = new Uint8Array(end - start);
  for (let at = 0; at < bytes.length;) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, start + at);
    if (bytesRead === 0) throw changed(name);
    at += bytesRead;
  }
  return bytes;
}

async function* readStream({ place, sizeBytes, path }: PlacedFile): AsyncGenerator<Uint8Array> {
  await using file = await openPlace(place);
  let at = 0;
  while (at < sizeBytes) {
    const chunk = new Uint8Array(Math.min(chunkBytes, sizeBytes - at));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
    if (bytesRead === 0) throw changed(path);
    at += bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
  if ((await file.stat()).size !== sizeBytes) throw changed(path);
}

/** The place is already resolved and checked, so a link that has replaced it is not followed. */
function openPlace(place: string) {
  return open(place, constants.O_RDONLY | constants.O_NOFOLLOW);
}

function changed(name: string): PairwiseError {
  return new PairwiseError('INVALID_FILE', `${name} changed while it was read`, { metadata: { file: name } });
}
