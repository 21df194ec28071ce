import { PairwiseError, shown } from '@pairwise/errors';
import { isRecord } from '@pairwise/safetensors';
import { sendFile, type LfsUpload, type SendPlan } from './lfsSend.ts';
import { lfsObject } from './pushFile.ts';
import { callHub, notAHub, slowMs } from './pushRequest.ts';
import { hubUrl, isSafe, patiently, type HubAccess } from './request.ts';

/**
 * Uploads a file to the hub's storage unless the hub has it, in one piece or in the parts that the hub asks for. Addresses
 * are requested per file, because they expire. Throws as `pushFiles`.
 */
export async function uploadLfs(upload: LfsUpload): Promise<void> {
  const { file, signal } = upload;
  const { hub } = upload.remote;
  const retried = <T>(work: (signal: AbortSignal) => Promise<T>, patienceMs?: number) =>
    patiently(work, { signal, reason: 'UPLOAD_FAILED', patienceMs });
  const plan = await retried((each) => negotiate(upload, each));
  if (plan === undefined) return;
  const parts = await sendFile(upload, plan);
  const what = `the upload of ${file.path}`;
  const post = (url: URL, content: object) =>
    retried((each) => callHub(hub, { url, what, body: JSON.stringify(content), type: lfsType }, each), slowMs);
  const { oid, size } = lfsObject(file);
  if (plan.complete !== undefined) await post(plan.complete, { oid, parts });
  if (plan.verify !== undefined) await post(plan.verify, { oid, size });
}

const lfsType = 'application/vnd.git-lfs+json';

/** Asks the hub where to send a file. Returns undefined if the hub has it. */
async function negotiate(upload: LfsUpload, signal: AbortSignal): Promise<SendPlan | undefined> {
  const { file } = upload;
  const { hub, owner, name, repoId, branch } = upload.remote;
  const what = `the upload of ${file.path} to ${repoId}`;
  const body = JSON.stringify({
    operation: 'upload',
    transfers: ['basic', 'multipart'],
    hash_algo: 'sha256',
    ref: { name: branch },
    objects: [lfsObject(file)],
  });
  const url = hubUrl(hub, owner, `${name}.git`, 'info', 'lfs', 'objects', 'batch');
  const answer = await callHub(hub, { url, what, body, type: lfsType }, signal);
  const objects = isRecord(answer) ? answer['objects'] : undefined;
  const object: unknown = Array.isArray(objects) ? objects[0] : undefined;
  if (!isRecord(object)) throw notAHub(what);
  const { actions, error } = object;
  if (isRecord(error)) throw new PairwiseError('UPLOAD_FAILED', `the hub refuses ${what}: ${shown(error['message'])}`);
  return isRecord(actions) && isRecord(actions['upload'])
    ? planOf(upload, what, actions['upload'], actions)
    : undefined;
}

/** How to send a file: whole, or in parts, whose addresses the hub puts among the headers by number. */
function planOf(
  { remote: { hub }, file: { sizeBytes } }: LfsUpload,
  what: string,
  { href, header }: Record<string, unknown>,
  { verify }: Record<string, unknown>,
): SendPlan {
  const headers = isRecord(header) ? header : {};
  const parsed = (address: unknown) => addressOf(hub, address, what);
  const then = isRecord(verify) ? { verify: parsed(verify['href']) } : {};
  if (headers['chunk_size'] === undefined) {
    const texts = Object.entries(headers).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
    return { ranges: [{ url: parsed(href), start: 0, end: sizeBytes }], headers: texts, ...then };
  }
  const partBytes = Number(headers['chunk_size']);
  const numbers = Object.keys(headers).filter((key) => /^\d+$/.test(key));
  numbers.sort((a, b) => Number(a) - Number(b));
  if (!(partBytes >= 1) || numbers.length !== Math.ceil(sizeBytes / partBytes)) throw notAHub(what);
  const ranges = numbers.map((key, index) => {
    const start = index * partBytes;
    return { url: parsed(headers[key]), start, end: Math.min(start + partBytes, sizeBytes) };
  });
  return { ranges, headers: [], complete: parsed(href), ...then };
}

/** An address may carry a signature, so it never enters a message. */
function addressOf({ endpoint }: HubAccess, address: unknown, what: string): URL {
  if (typeof address !== 'string' || !URL.canParse(address)) throw notAHub(what);
  const url = new URL(address);
  if (isSafe(new URL(endpoint), url)) return url;
  throw new PairwiseError('UPLOAD_FAILED', `the hub gives an address for ${what} that is not safe to send to`);
}
