import { createWriteStream, existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { once } from 'node:events';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileInfo } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Services } from '../connection.ts';
import { fileDigest } from './fileDigest.ts';

export interface Download {
  /** Resource name of the artifact. */
  artifact: string;
  file: FileInfo;
  /** Local folder of the artifact. */
  folder: string;
  signal: AbortSignal;
  /** Called with the number of bytes received so far. */
  onProgress: (bytes: number) => void;
}

const maxFailuresInARow = 8;

/** Local path of a file. Throws INVALID_FILE for a path outside the folder, which a malicious server might send. */
export function placeOf(folder: string, path: string): string {
  const place = resolve(folder, path);
  const within = relative(folder, place);
  if (within !== '' && within !== '..' && !within.startsWith(`..${sep}`) && !path.includes('\0')) return place;
  throw new PairwiseError('INVALID_FILE', `the artifact has a file '${path}', which is outside its folder`);
}

const receivedBytes = (path: string) => (existsSync(path) ? statSync(path).size : 0);

/** Appends the missing rest of a file to what was received. */
async function append(services: Services, download: Download, part: string): Promise<void> {
  const { artifact, file, signal, onProgress } = download;
  const out = createWriteStream(part, { flags: 'a' });
  let at = receivedBytes(part);
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

/** Fetches until the file is complete; gives up after 8 failures in a row without new bytes. */
async function fetchAll(services: Services, download: Download, part: string): Promise<void> {
  const size = Number(download.file.sizeBytes);
  for (let left = maxFailuresInARow; receivedBytes(part) < size; left -= 1) {
    const before = receivedBytes(part);
    try {
      await append(services, download, part);
      if (receivedBytes(part) < size)
        throw new PairwiseError('UNAVAILABLE', `the stream ended before ${download.file.path} was complete`);
    } catch (error) {
      const lost = error instanceof PairwiseError && error.reason === 'UNAVAILABLE';
      if (!lost || download.signal.aborted || left === 1) throw error;
      if (receivedBytes(part) > before) left = maxFailuresInARow;
      await sleep(500, undefined, { signal: download.signal });
    }
  }
}

/**
 * Downloads one file of an artifact into `<path>.part`, resuming an earlier download, and renames it once its sha256
 * matches. Returns its path. Throws DIGEST_MISMATCH, and removes the part, if the sha256 does not match.
 */
export async function downloadArtifactFile(services: Services, download: Download): Promise<string> {
  const { file, folder } = download;
  const place = placeOf(folder, file.path);
  if (existsSync(place) && (await fileDigest(place)) === file.digest) {
    download.onProgress(Number(file.sizeBytes));
    return place;
  }
  mkdirSync(dirname(place), { recursive: true });
  const part = `${place}.part`;
  const resumed = receivedBytes(part) > 0;
  await fetchAll(services, download, part);
  // An empty file is never fetched.
  if (!existsSync(part)) await once(createWriteStream(part).end(), 'close');
  if ((await fileDigest(part)) === file.digest) {
    renameSync(part, place);
    return place;
  }
  rmSync(part);
  // The first part may come from another file that once had this name.
  if (resumed) return downloadArtifactFile(services, download);
  throw new PairwiseError('DIGEST_MISMATCH', `${join(folder, file.path)} was corrupted on the way; download it again`);
}
