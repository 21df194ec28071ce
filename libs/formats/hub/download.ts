import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asDiskFull, PairwiseError } from '@pairwise/errors';
import { checkAnswer, TransientError, patiently, send, type HubOptions } from './request.ts';

/** A file on the hub. */
export interface RemoteFile {
  path: string;
  sizeBytes: number;
  /** The sha256 of a file in LFS, or the git object id of another file. The content is checked against it. */
  etag: string;
  url: URL;
}

const chunkBytes = 1024 * 1024;

// Not the name that other tools use, since they append to their files.
const incomingOf = (place: string) => `${place}.pairwise.incomplete`;

/** How many bytes of a file are left from an earlier attempt. */
export async function keptBytes(place: string): Promise<number> {
  return (await stat(incomingOf(place)).catch(() => ({ size: 0 }))).size;
}

/** The downloads in progress by place, so that a blob is not downloaded twice at the same time. */
const running = new Map<string, Promise<void>>();

/**
 * Downloads a file to `place`, which exists only once it has the right content. It resumes an earlier attempt, also one of a
 * process that died. `onReceived` is called with the number of bytes of the file on this machine.
 * Throws DOWNLOAD_FAILED, DIGEST_MISMATCH, DISK_FULL, NOT_FOUND, PERMISSION_DENIED.
 */
export async function downloadBlob(
  hub: HubOptions,
  file: RemoteFile,
  place: string,
  onReceived: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const before = running.get(place) ?? Promise.resolve();
  const mine = before.catch(() => undefined).then(() => fetchTo(hub, file, place, onReceived, signal));
  running.set(place, mine);
  try {
    await mine;
  } catch (error) {
    throw asDiskFull(error, `the disk is full; ${file.path} needs ${file.sizeBytes} bytes`);
  } finally {
    if (running.get(place) === mine) running.delete(place);
  }
}

async function fetchTo(
  hub: HubOptions,
  file: RemoteFile,
  place: string,
  onReceived: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  // Another download may have finished it while this one waited.
  if ((await stat(place).catch(() => undefined))?.size === file.sizeBytes) return;
  await mkdir(dirname(place), { recursive: true });
  const incoming = incomingOf(place);
  for (let fresh = false; ; fresh = true) {
    await using target = await open(incoming, constants.O_RDWR | constants.O_CREAT, 0o644);
    const { size } = await target.stat();
    const kept = size <= file.sizeBytes ? size : 0;
    if (kept !== size) await target.truncate(0);
    const hash = hashOf(file);
    await readInto(hash, target, kept);
    onReceived(kept);
    const fits = await receive(hub, file, target, hash, kept, onReceived, signal);
    if (fits && hash.digest('hex') === file.etag) {
      await target.sync();
      await rename(incoming, place);
      return;
    }
    // Removed, not emptied: another process may have it open.
    await rm(incoming, { force: true });
    onReceived(0);
    // The bytes of an earlier attempt may be wrong, so try once more from the beginning.
    if (fresh || kept === 0) throw mismatch(file, fits ? 'another digest' : 'more bytes');
  }
}

/** The etag of a file in LFS is its sha256, that of another file the sha1 of its git object. */
function hashOf({ etag, sizeBytes }: RemoteFile): Hash {
  return etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${sizeBytes}\0`);
}

async function readInto(hash: Hash, source: FileHandle, end: number): Promise<void> {
  const chunk = new Uint8Array(Math.min(chunkBytes, end));
  for (let at = 0; at < end;) {
    const { bytesRead } = await source.read(chunk, 0, Math.min(chunk.length, end - at), at);
    if (bytesRead === 0) throw new Error('the file shrank while it was read');
    hash.update(chunk.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** Downloads the missing bytes. Returns false if the server sends more bytes than the hub stated. */
async function receive(
  hub: HubOptions,
  file: RemoteFile,
  target: FileHandle,
  hash: Hash,
  kept: number,
  onReceived: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  let received = kept;
  let atLastFailure = -1;
  const progressed = () => {
    const moved = received > atLastFailure && atLastFailure !== -1;
    atLastFailure = received;
    return moved;
  };
  return patiently(
    async (attempt, alive) => {
      if (received === file.sizeBytes) return true;
      for await (const chunk of bodyFrom(hub, file, received, attempt)) {
        alive();
        if (received + chunk.length > file.sizeBytes) return false;
        for (let at = 0; at < chunk.length;) {
          at += (await target.write(chunk, at, chunk.length - at, received + at)).bytesWritten;
        }
        hash.update(chunk);
        received += chunk.length;
        onReceived(received);
      }
      if (received < file.sizeBytes)
        throw new TransientError(`the connection broke during the download of ${file.path}`, 0);
      return true;
    },
    { signal, progressed },
  );
}

/** The bytes of a file from `start` to `end` (exclusive; default: the end of the file). Throws TransientError if the connection breaks. */
export async function* bodyFrom(
  hub: HubOptions,
  file: RemoteFile,
  start: number,
  signal: AbortSignal,
  end?: number,
): AsyncGenerator<Uint8Array> {
  const partial = start > 0 || end !== undefined;
  const range = partial ? { range: end === undefined ? { start } : { start, end } } : {};
  const { response } = await send(hub, file.url, { ...range, signal });
  checkAnswer(response, file.path, hub);
  // A server may ignore ranges and send everything.
  let skip = response.status === 206 ? 0 : start;
  const begins = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
  if (response.status === 206 && Number(begins) !== start) {
    await response.body?.cancel();
    throw new PairwiseError('DOWNLOAD_FAILED', `the server sent a different part of ${file.path} than requested`);
  }
  try {
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      if (skip < chunk.length) yield chunk.subarray(skip);
      skip = Math.max(0, skip - chunk.length);
    }
  } catch (cause) {
    if (cause instanceof PairwiseError || signal.aborted) throw cause;
    throw new TransientError(`the connection broke during the download of ${file.path}`, 0, cause);
  }
}

function mismatch({ path }: RemoteFile, found: string): PairwiseError {
  return new PairwiseError('DIGEST_MISMATCH', `${path} has ${found} than the hub stated; it was deleted`, {
    metadata: { file: path },
  });
}
