import { ImportState, type Import, type ImportHeader, type ImportPairsRequest, ImportPolicy } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { isDigest, type Digest } from '@pairwise/fingerprint';
import { errorOf, unlessAborted } from '@pairwise/rpc';
import { acceptFile } from './accept.ts';
import type { ImportRecord, Imports } from './imports.ts';
import type { Staging, Upload } from './staging.ts';

type Messages = AsyncIterator<ImportPairsRequest>;

/** What an upload works with. */
export interface Uploading {
  imports: Imports;
  staging: Staging;
  turns: Turns;
}

/** Lets the newest upload of an import go on and ends the one before, whose connection may have broken unnoticed. */
export interface Turns {
  take<T>(uid: string, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

export function openTurns(): Turns {
  const active = new Map<string, { abort: AbortController; ended: Promise<unknown> }>();
  return {
    async take(uid, work) {
      const abort = new AbortController();
      const before = active.get(uid);
      before?.abort.abort(new PairwiseError('WRONG_STATE', 'a newer upload of the same import took over'));
      const turn = (before?.ended ?? Promise.resolve()).then(() => work(abort.signal));
      const mine = { abort, ended: turn.catch(() => undefined) };
      active.set(uid, mine);
      try {
        return await turn;
      } finally {
        if (active.get(uid) === mine) active.delete(uid);
      }
    },
  };
}

/**
 * Takes an upload: keeps what arrives, checks the digest of the whole, and accepts or refuses the file. What has arrived is
 * kept when the stream breaks off. A repetition of an upload that has ended has the same outcome.
 */
export async function importPairs(uploading: Uploading, requests: AsyncIterable<ImportPairsRequest>): Promise<Import> {
  const messages = requests[Symbol.asyncIterator]();
  const header = await firstMessage(messages);
  const record = await uploading.imports.begin(header);
  return uploading.turns.take(record.uid, async (signal) => {
    const now = await uploading.imports.record(record.import.name);
    if (now.import.state !== ImportState.RECEIVING) return repeated(now, messages);
    const { digest, sizeBytes } = await receive(uploading, now, header, messages, signal);
    return judge(uploading, now, digest, sizeBytes);
  });
}

async function firstMessage(messages: Messages): Promise<ImportHeader> {
  const first = await messages.next();
  const payload = first.done === true ? undefined : first.value.payload;
  if (payload?.$case !== 'header') throw invalid('header', 'must come first, and once');
  const { offsetBytes } = payload.value;
  if (offsetBytes < 0n) throw invalid('header.offset_bytes', `is ${offsetBytes}; it must be at least 0`);
  return payload.value;
}

/** Keeps the chunks until the end of the upload; the digest that the caller claims and the size of the file. */
async function receive(
  { staging }: Uploading,
  record: ImportRecord,
  header: ImportHeader,
  messages: Messages,
  signal: AbortSignal,
): Promise<{ digest: Digest; sizeBytes: number }> {
  const upload = await staging.open(record.uid);
  try {
    checkOffset(header.offsetBytes, upload);
    const digest = await append(upload, messages, signal);
    return { digest, sizeBytes: upload.sizeBytes() };
  } finally {
    await upload.sync().finally(() => upload.close());
  }
}

async function append(upload: Upload, messages: Messages, signal: AbortSignal): Promise<Digest> {
  for (;;) {
    const next = await unlessAborted(messages.next(), signal);
    const payload = next.done === true ? undefined : next.value.payload;
    if (payload?.$case === 'chunk') await upload.append(payload.value);
    else if (payload?.$case === 'finish') return claimed(payload.value.digest);
    else if (payload?.$case === 'header') throw invalid('header', 'must come first, and once');
    else throw invalid('finish', 'is missing; what has arrived is kept, so go on from committed_size_bytes');
  }
}

function checkOffset(offset: bigint, upload: Upload): void {
  const committed = BigInt(upload.sizeBytes());
  if (offset === committed) return;
  const message = `header.offset_bytes: is ${offset}, but ${committed} bytes are there; go on from committed_size_bytes`;
  throw new PairwiseError('WRONG_STATE', message, {
    field: 'header.offset_bytes',
    metadata: { committed_size_bytes: String(committed) },
  });
}

function claimed(digest: string): Digest {
  if (isDigest(digest)) return digest;
  throw invalid('finish.digest', "must be the file's digest, 'sha256:' and 64 hex digits");
}

/** Decides on a whole file. */
async function judge(
  { imports, staging }: Uploading,
  { import: { name }, uid, policy }: ImportRecord,
  digest: Digest,
  sizeBytes: number,
): Promise<Import> {
  // Deleted meanwhile, with its dataset?
  await imports.record(name);
  const actual = await staging.digest(uid);
  if (actual !== digest) {
    // Nobody can tell which byte is wrong.
    await staging.drop(uid);
    const message = `finish.digest: the bytes that arrived have the digest ${actual}; upload the file again from byte 0`;
    throw new PairwiseError('DIGEST_MISMATCH', message, { field: 'finish.digest', metadata: { actual } });
  }
  try {
    const strict = policy === ImportPolicy.STRICT;
    const report = await acceptFile(staging.uploadPath(uid), staging.pairsPath(uid), strict);
    const accepted = await imports.accept(name, digest, sizeBytes, report);
    await staging.dropUpload(uid);
    return accepted;
  } catch (error) {
    if (!(error instanceof PairwiseError)) throw error;
    if (['INVALID_FILE', 'INVALID_PAIR', 'EMPTY_DATASET'].includes(error.reason)) {
      await imports.refuse(name, digest, sizeBytes, error);
      await staging.drop(uid);
    }
    if (error.reason === 'NOT_FOUND') await staging.drop(uid);
    throw error;
  }
}

/** The outcome of an import that has ended, for a caller that sends the same file again. */
async function repeated(record: ImportRecord, messages: Messages): Promise<Import> {
  for (;;) {
    const next = await messages.next();
    const payload = next.done === true ? undefined : next.value.payload;
    if (payload?.$case === 'chunk') continue;
    if (payload?.$case !== 'finish' || payload.value.digest !== record.digest) break;
    if (record.import.error !== undefined) throw errorOf(record.import.error);
    return record.import;
  }
  const message = `header.import_id: the import '${record.import.name}' has ended with another file; choose a new id`;
  throw new PairwiseError('WRONG_STATE', message, { field: 'header.import_id' });
}

function invalid(field: string, problem: string): PairwiseError {
  return new PairwiseError('INVALID_ARGUMENT', `${field}: ${problem}`, { field });
}
