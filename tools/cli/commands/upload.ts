import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Import, type ImportPairsRequest, type ImportPolicy, ImportState } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { usage } from '../exit.ts';
import type { Services } from '../connection.ts';
import { byteMeter } from '../progress.ts';

export interface Upload {
  /** `projects/{project}/datasets/{dataset}`. */
  parent: string;
  path: string;
  policy: ImportPolicy;
  signal: AbortSignal;
  /** Told when the connection was lost and the upload goes on. */
  onResume: (offset: number) => void;
}

/** Enough for a server that restarts. */
const triesWithoutProgress = 8;

/** Size of a file that can be uploaded. Ends the command with code 2 where there is none. */
export function sizeOf(path: string): number {
  try {
    const stat = statSync(path);
    if (stat.isFile()) return stat.size;
  } catch (error) {
    usage(`${path} cannot be read: ${(error as Error).message}`);
  }
  return usage(`${path} is no file`);
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function* requests(
  upload: Upload,
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
  yield { payload: { $case: 'finish', value: { digest: `sha256:${digest}` } } };
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
 * Finds the import to go on with. Its id comes from the file's content and the policy, so the same command takes an
 * interrupted upload up again and does nothing twice; an import that was refused is followed by a new one.
 */
async function chooseImport(services: Services, { parent, policy }: Upload, digest: string) {
  const stem = `${policy === 'IMPORT_POLICY_SKIP' ? 'skip' : 'strict'}-${digest.slice(0, 20)}`;
  for (let attempt = 1; ; attempt += 1) {
    const id = attempt === 1 ? stem : `${stem}-${attempt}`;
    const existing = await find(services, `${parent}/imports/${id}`);
    if (existing?.state !== ImportState.FAILED) return { id, existing };
  }
}

/** The server speaks of the bytes that it got; the user knows a file. */
function ofFile(error: unknown, path: string): unknown {
  if (!(error instanceof PairwiseError) || error.field !== 'chunk') return error;
  const message = `${path}: ${error.message.replace(/^chunk: /, '')}`;
  return new PairwiseError(error.reason, message, { metadata: error.metadata, cause: error });
}

/**
 * Uploads a file of pairs. A connection that breaks is taken up again where the server has got to.
 * Throws the server's error for a file that it refuses.
 */
export async function uploadPairs(services: Services, upload: Upload): Promise<Import> {
  const size = sizeOf(upload.path);
  const digest = await digestOf(upload.path);
  const { id, existing } = await chooseImport(services, upload, digest);
  if (existing?.state === ImportState.READY) return existing;
  let offset = Number(existing?.committedSizeBytes ?? 0);
  if (offset > 0) upload.onResume(offset);
  const meter = byteMeter(basename(upload.path), size);
  try {
    for (let left = triesWithoutProgress; ; left -= 1) {
      try {
        const stream = requests(upload, id, offset, digest, (at) => meter.update(at));
        const { import: done } = await services.dataset.importPairs(stream, { signal: upload.signal });
        return done!;
      } catch (error) {
        // A call that gRPC itself repeats after a lost connection begins at an offset that has passed.
        const lost = reasonOf(error) === 'UNAVAILABLE';
        const now = upload.signal.aborted ? undefined : await find(services, `${upload.parent}/imports/${id}`);
        if (now?.state === ImportState.READY) return now;
        const committed = Number(now?.committedSizeBytes ?? 0);
        const moved = committed !== offset;
        if (upload.signal.aborted || (!lost && !moved) || now?.state === ImportState.FAILED || left === 1) {
          throw ofFile(error, upload.path);
        }
        if (moved) left = triesWithoutProgress;
        offset = committed;
        upload.onResume(offset);
        await sleep(500, undefined, { signal: upload.signal });
      }
    }
  } finally {
    meter.stop();
  }
}
