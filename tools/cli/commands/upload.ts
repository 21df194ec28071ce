import { createReadStream, statSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Import, type ImportPairsRequest, ImportPolicy, ImportState } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { usage } from '../exit.ts';
import type { Services } from '../connection.ts';
import { byteMeter } from '../progress.ts';
import { fileDigest } from './fileDigest.ts';

export interface PairsUpload {
  /** `projects/{project}/datasets/{dataset}`. */
  parent: string;
  path: string;
  policy: ImportPolicy;
  signal: AbortSignal;
  /** Called with the offset in bytes when the upload resumes after a lost connection. */
  onResume: (offset: number) => void;
}

/** Long enough for a server to restart. */
const maxFailuresInARow = 8;

/** Size of a file in bytes. A missing or unreadable file is a usage error. */
export function uploadSize(path: string): number {
  try {
    const stat = statSync(path);
    if (stat.isFile()) return stat.size;
  } catch (error) {
    usage(`${path} cannot be read: ${(error as Error).message}`);
  }
  return usage(`${path} is not a file`);
}

async function* requests(
  upload: PairsUpload,
  importId: string,
  offset: number,
  digest: string,
  sent: (offset: number) => void,
): AsyncGenerator<ImportPairsRequest> {
  const header = { parent: upload.parent, importId, offsetBytes: BigInt(offset), policy: upload.policy };
  yield { payload: { $case: 'header', value: header } };
  let at = offset;
  for await (const chunk of createReadStream(upload.path, { start: offset, highWaterMark: 256 * 1024 })) {
    yield { payload: { $case: 'chunk', value: chunk as Buffer } };
    at += (chunk as Buffer).length;
    sent(at);
  }
  yield { payload: { $case: 'finish', value: { digest } } };
}

const reasonOf = (error: unknown) => (error instanceof PairwiseError ? error.reason : undefined);

async function find(services: Services, name: string): Promise<Import | undefined> {
  try {
    return (await services.dataset.getImport({ name })).import;
  } catch (error) {
    if (reasonOf(error) === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/**
 * Finds the import to continue, or the id of a new one. The id is made from the file's content and the policy, so that
 * repeating a command resumes an interrupted upload and never imports twice. A refused import is followed by a new one.
 */
async function chooseImport(services: Services, { parent, policy }: PairsUpload, digest: string) {
  const stem = `${policy === ImportPolicy.SKIP ? 'skip' : 'strict'}-${digest.slice('sha256:'.length, 'sha256:'.length + 20)}`;
  for (let attempt = 1; ; attempt += 1) {
    const id = attempt === 1 ? stem : `${stem}-${attempt}`;
    const existing = await find(services, `${parent}/imports/${id}`);
    if (existing?.state !== ImportState.FAILED) return { id, existing };
  }
}

/** Replaces the field that the server names, `chunk`, by the file that the user knows. */
function nameFile(error: unknown, path: string): unknown {
  if (!(error instanceof PairwiseError) || error.field !== 'chunk') return error;
  const message = `${path}: ${error.message.replace(/^chunk: /, '')}`;
  return new PairwiseError(error.reason, message, { metadata: error.metadata, cause: error });
}

/**
 * Uploads a file of pairs. After a lost connection it resumes at the last byte that the server has.
 * Throws the server's error for a file that it refuses.
 */
export async function uploadPairs(services: Services, upload: PairsUpload): Promise<Import> {
  const size = uploadSize(upload.path);
  const digest = await fileDigest(upload.path);
  const { id, existing } = await chooseImport(services, upload, digest);
  if (existing?.state === ImportState.READY) return existing;
  let offset = Number(existing?.committedSizeBytes ?? 0);
  if (offset > 0) upload.onResume(offset);
  const meter = byteMeter(basename(upload.path), size);
  try {
    for (let left = maxFailuresInARow; ; left -= 1) {
      try {
        const stream = requests(upload, id, offset, digest, (at) => meter.update(at));
        const { import: done } = await services.dataset.importPairs(stream, { signal: upload.signal });
        return done!;
      } catch (error) {
        // When gRPC itself retries a call, the retry starts at an offset that the server has already passed.
        const lost = reasonOf(error) === 'UNAVAILABLE';
        const now = upload.signal.aborted ? undefined : await find(services, `${upload.parent}/imports/${id}`);
        if (now?.state === ImportState.READY) return now;
        const committed = Number(now?.committedSizeBytes ?? 0);
        const moved = committed !== offset;
        if (upload.signal.aborted || (!lost && !moved) || now?.state === ImportState.FAILED || left === 1) {
          throw nameFile(error, upload.path);
        }
        if (moved) left = maxFailuresInARow;
        offset = committed;
        upload.onResume(offset);
        await sleep(500, undefined, { signal: upload.signal });
      }
    }
  } finally {
    meter.stop();
  }
}
