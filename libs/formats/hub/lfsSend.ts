import { createHash, type Hash } from 'node:crypto';
import { PairwiseError } from '@pairwise/errors';
import { lfsObject, type PushFile, type Remote } from './pushFile.ts';
import { headersFor, patiently, reach } from './request.ts';

export interface LfsUpload {
  remote: Remote;
  file: PushFile;
  signal: AbortSignal | undefined;
  /** Called with the number of bytes of the file that are sent. */
  onSent: (bytes: number) => void;
}

/** Where to send the bytes of a file, and what follows. Signed addresses are good for this file alone. */
export interface SendPlan {
  /** One range of bytes per request, in order. */
  ranges: readonly SendRange[];
  /** Headers of these requests. */
  headers: readonly (readonly [string, string])[];
  /** Joins the parts. Undefined for a file that is sent whole. */
  complete?: URL;
  /** Has the hub check what was sent. */
  verify?: URL;
}

interface SendRange {
  url: URL;
  start: number;
  /** Exclusive. */
  end: number;
}

/**
 * Sends the ranges of a file one after the other, and each again if its connection breaks. Returns the parts as the hub
 * wants them listed. Throws DAMAGED_DATA if the bytes that were read are not those of the file.
 */
export async function sendFile(upload: LfsUpload, { ranges, headers }: SendPlan) {
  const { file, signal } = upload;
  const parts: { partNumber: number; etag: string | null }[] = [];
  let hash = createHash('sha256');
  for (const [index, range] of ranges.entries()) {
    const before = hash;
    const sent = await patiently((each, alive) => sendRange(upload, { range, headers, before, alive }, each), {
      signal,
      reason: 'UPLOAD_FAILED',
    });
    hash = sent.hash;
    parts.push({ partNumber: index + 1, etag: sent.etag });
  }
  const { oid } = lfsObject(file);
  if (hash.digest('hex') === oid) return parts;
  throw new PairwiseError('DAMAGED_DATA', `${file.path} is damaged: its bytes do not have the digest sha256:${oid}`);
}

interface Sending {
  range: SendRange;
  headers: SendPlan['headers'];
  /** The hash of the bytes before the range. */
  before: Hash;
  alive: () => void;
}

async function sendRange(
  { remote: { hub }, file, onSent }: LfsUpload,
  { range: { url, start, end }, headers: given, before, alive }: Sending,
  signal: AbortSignal,
): Promise<{ hash: Hash; etag: string | null }> {
  const hash = before.copy();
  let unreadable: unknown;
  async function* body() {
    let at = start;
    try {
      for await (const chunk of file.read(start, end)) {
        alive();
        hash.update(chunk);
        yield chunk;
        at += chunk.length;
        onSent(at);
      }
    } catch (error) {
      unreadable = error;
      throw error;
    }
  }
  const headers = headersFor(hub, url);
  for (const [name, value] of given) headers.set(name, value);
  // Storage does not accept a body of unknown length.
  headers.set('content-length', String(end - start));
  const init = { method: 'PUT', headers, body: body(), duplex: 'half' as const, redirect: 'manual' as const, signal };
  const response = await reach(url, init).catch((error: unknown) => {
    throw unreadable ?? error;
  });
  await response.body?.cancel();
  if (response.ok) return { hash, etag: response.headers.get('etag') };
  const remedy = 'push again; what was uploaded is kept';
  throw new PairwiseError(
    'UPLOAD_FAILED',
    `the hub's storage responds with status ${response.status} to ${file.path}; ${remedy}`,
  );
}
