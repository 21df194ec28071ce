import { ImportState, type Import, type ImportHeader, type ImportPairsRequest, ImportPolicy } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { isDigest, type Digest } from '@pairwise/fingerprint';
import { errorOf, unlessAborted } from '@pairwise/rpc';
import { acceptFile } from './accept.ts';
import type { ActiveUploads } from './activeUploads.ts';
import type { ImportRecord, Imports } from './imports.ts';
import type { Staging, Upload } from './staging.ts';

type Messages = AsyncIterator<ImportPairsRequest>;

export interface UploadDeps {
  imports: Imports;
  staging: Staging;
  uploads: ActiveUploads;
}

/**
 * Implements `ImportPairs`: stores the chunks, checks the digest of the whole file, and accepts or rejects it. If the
 * stream is interrupted, the received bytes are kept. Repeating an upload that has ended returns the same outcome.
 */
export async function importPairs(deps: UploadDeps, requests: AsyncIterable<ImportPairsRequest>): Promise<Import> {
  const messages = requests[Symbol.asyncIterator]();
  const header = await readHeader(messages);
  const { uid, import: begun } = await deps.imports.begin(header);
  return deps.uploads.run(uid, async (signal) => {
    const record = await deps.imports.record(begun.name);
    if (record.import.state !== ImportState.RECEIVING) return repeatedOutcome(record, messages);
    const { digest, sizeBytes } = await receive(deps.staging, record, header, messages, signal);
    await checkDigest(deps, record, digest);
    return finish(deps, record, digest, sizeBytes);
  });
}

async function readHeader(messages: Messages): Promise<ImportHeader> {
  const first = await messages.next();
  const payload = first.done === true ? undefined : first.value.payload;
  if (payload?.$case !== 'header') throw invalid('header', 'must be sent once, as the first message');
  const { offsetBytes } = payload.value;
  if (offsetBytes < 0n) throw invalid('header.offset_bytes', `is ${offsetBytes}; it must be at least 0`);
  return payload.value;
}

/** Stores the chunks. Returns the digest from the last message and the size of the file. */
async function receive(
  staging: Staging,
  record: ImportRecord,
  header: ImportHeader,
  messages: Messages,
  signal: AbortSignal,
): Promise<{ digest: Digest; sizeBytes: number }> {
  const upload = await staging.open(record.uid);
  try {
    checkOffset(header.offsetBytes, upload);
    const digest = await appendChunks(upload, messages, signal);
    return { digest, sizeBytes: upload.sizeBytes() };
  } finally {
    await upload.sync().finally(() => upload.close());
  }
}

async function appendChunks(upload: Upload, messages: Messages, signal: AbortSignal): Promise<Digest> {
  for (;;) {
    const next = await unlessAborted(messages.next(), signal);
    const payload = next.done === true ? undefined : next.value.payload;
    if (payload?.$case === 'chunk') await upload.append(payload.value);
    else if (payload?.$case === 'finish') return digestIn(payload.value.digest);
    else if (payload?.$case === 'header') throw invalid('header', 'must be sent once, as the first message');
    else throw invalid('finish', 'is missing; the received bytes are kept, resume from committed_size_bytes');
  }
}

function checkOffset(offset: bigint, upload: Upload): void {
  const committed = BigInt(upload.sizeBytes());
  if (offset === committed) return;
  const message = `header.offset_bytes: is ${offset}, but ${committed} bytes were received; resume from committed_size_bytes`;
  throw new PairwiseError('WRONG_STATE', message, {
    field: 'header.offset_bytes',
    metadata: { committed_size_bytes: String(committed) },
  });
}

function digestIn(text: string): Digest {
  if (isDigest(text)) return text;
  throw invalid('finish.digest', "must be the file's digest: 'sha256:' and 64 hex digits");
}

/** Throws DIGEST_MISMATCH and discards the upload, since it is unknown which of its bytes are wrong. */
async function checkDigest({ imports, staging }: UploadDeps, record: ImportRecord, expected: Digest): Promise<void> {
  // Throws if the dataset was deleted meanwhile, along with its files.
  await imports.record(record.import.name);
  const actual = await staging.digest(record.uid);
  if (actual === expected) return;
  await staging.drop(record.uid);
  const message = `finish.digest: the received bytes have the digest ${actual}; upload the file again from byte 0`;
  throw new PairwiseError('DIGEST_MISMATCH', message, { field: 'finish.digest', metadata: { actual } });
}

/** Accepts or rejects a complete file. */
async function finish(
  { imports, staging }: UploadDeps,
  { import: { name }, uid, policy }: ImportRecord,
  digest: Digest,
  sizeBytes: number,
): Promise<Import> {
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

/** Returns or throws the outcome of an import that has ended, provided that the caller sent the same file again. */
async function repeatedOutcome(record: ImportRecord, messages: Messages): Promise<Import> {
  for (;;) {
    const next = await messages.next();
    const payload = next.done === true ? undefined : next.value.payload;
    if (payload?.$case === 'chunk') continue;
    if (payload?.$case !== 'finish' || payload.value.digest !== record.digest) break;
    if (record.import.error !== undefined) throw errorOf(record.import.error);
    return record.import;
  }
  const message = `header.import_id: the import '${record.import.name}' has ended with a different file; choose a new id`;
  throw new PairwiseError('WRONG_STATE', message, { field: 'header.import_id' });
}

function invalid(field: string, problem: string): PairwiseError {
  return new PairwiseError('INVALID_ARGUMENT', `${field}: ${problem}`, { field });
}
