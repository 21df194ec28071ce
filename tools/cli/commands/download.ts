import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { once } from 'node:events';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileInfo } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Services } from '../connection.ts';

export interface Download {
  /** Resource name of the artifact. */
  artifact: string;
  file: FileInfo;
  /** Folder of the artifact here. */
  folder: string;
  signal: AbortSignal;
  /** Bytes of the file that are here. */
  onProgress: (bytes: number) => void;
}

const triesWithoutProgress = 8;

/** Where a file goes; a path that leaves the folder is refused, whoever sent it. */
export function placeOf(folder: string, path: string): string {
  const place = resolve(folder, path);
  const within = relative(folder, place);
  if (within !== '' && within !== '..' && !within.startsWith(`..${sep}`) && !path.includes('\0')) return place;
  throw new PairwiseError('INVALID_FILE', `the artifact has a file '${path}', which is no place below its folder`);
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}`;
}

const sizeOf = (path: string) => (existsSync(path) ? statSync(path).size : 0);

/** Appends what is missing of a file to its beginning. */
async function append(services: Services, download: Download, part: string): Promise<void> {
  const { artifact, file, signal, onProgress } = download;
  const out = createWriteStream(part, { flags: 'a' });
  let at = sizeOf(part);
  onProgress(at);
  try {
    const request = { name: artifact, path: file.path, offsetBytes: BigInt(at) };
    for await (const { chunk } of services.export.downloadArtifact(request, { signal })) {
      if (!out.write(chunk)) await once(out, 'drain', { signal });
      at += chunk.length;
      onProgress(at);
    }
  } finally {
    out.end();
    await once(out, 'close');
  }
}

/** Fetches until the file is whole, however often the connection breaks. */
async function fetchAll(services: Services, download: Download, part: string): Promise<void> {
  const size = Number(download.file.sizeBytes);
  for (let left = triesWithoutProgress; sizeOf(part) < size; left -= 1) {
    const before = sizeOf(part);
    try {
      await append(services, download, part);
      if (sizeOf(part) < size) throw new PairwiseError('UNAVAILABLE', `${download.file.path} came incomplete`);
    } catch (error) {
      const lost = error instanceof PairwiseError && error.reason === 'UNAVAILABLE';
      if (!lost || download.signal.aborted || left === 1) throw error;
      if (sizeOf(part) > before) left = triesWithoutProgress;
      await sleep(500, undefined, { signal: download.signal });
    }
  }
}

/**
 * Brings one file of an artifact here: into `<path>.part`, from where an earlier download stopped, and under its name
 * only once size and sha256 are right. Returns its path. Throws DIGEST_MISMATCH, and removes the part, if they are not.
 */
export async function downloadFile(services: Services, download: Download): Promise<string> {
  const { file, folder } = download;
  const place = placeOf(folder, file.path);
  if (existsSync(place) && (await digestOf(place)) === file.digest) {
    download.onProgress(Number(file.sizeBytes));
    return place;
  }
  mkdirSync(dirname(place), { recursive: true });
  const part = `${place}.part`;
  const resumed = sizeOf(part) > 0;
  await fetchAll(services, download, part);
  // An empty file needs no call at all.
  if (!existsSync(part)) await once(createWriteStream(part).end(), 'close');
  if ((await digestOf(part)) === file.digest) {
    renameSync(part, place);
    return place;
  }
  rmSync(part);
  // The beginning may be of another file that once had this name.
  if (resumed) return downloadFile(services, download);
  throw new PairwiseError('DIGEST_MISMATCH', `${join(folder, file.path)} did not arrive as it was sent; try again`);
}
