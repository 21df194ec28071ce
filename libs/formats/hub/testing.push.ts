import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { listen, stop } from './testing.server.ts';
import { testRepositories, type Answer, type TestRepository } from './testing.repositories.ts';

/** How a later request whose path ends in `path` fails, once. */
export interface PushFault {
  path: string;
  /** Status to answer with instead. Without it, the connection breaks. */
  answer?: number;
  /** The request is served, and its response is lost. */
  loseResponse?: true;
  headers?: Record<string, string>;
  /** How many bytes of the body to read first. Default: 0. */
  afterBytes?: number;
}

/** A request that a server received. */
interface PushRequest {
  server: 'hub' | 'storage';
  method: string;
  path: string;
  authorization: string | undefined;
}

export interface TestPushHub {
  endpoint: string;
  repositories: Map<string, TestRepository>;
  requests: PushRequest[];
  faults: PushFault[];
  /** Bytes of file content that the storage has received in total. */
  storedBytes: () => number;
  close(): Promise<void>;
}

export interface PushHubOptions {
  /** The only token with write access. */
  token: string;
  /** The owner whose repositories the token may write. */
  owner: string;
  /** Files of more than this are uploaded in parts of this size, in bytes. Default: no parts. */
  partBytes?: number;
}

/**
 * For specs: a server with the part of the hub's API that pushing uses, and its storage, a second server whose addresses
 * are signed. It checks what the hub and S3 check: tokens, lengths, signatures, the sha256 of content, and the order and
 * etags of parts.
 */
export async function startTestPushHub({ token, owner, partBytes = Infinity }: PushHubOptions): Promise<TestPushHub> {
  const requests: PushRequest[] = [];
  const faults: PushFault[] = [];
  const repositories = testRepositories(owner);
  const parts = new Map<string, Buffer>();
  let storedBytes = 0;

  const start = (server: PushRequest['server'], respond: Respond) =>
    listen((request, response) => {
      const { method, url, headers } = request;
      requests.push({ server, method: method!, path: url!, authorization: headers.authorization });
      const path = decodeURIComponent(new URL(url!, 'http://any').pathname);
      const fault = takeFault(faults, path);
      const count = (bytes: number) => (storedBytes += server === 'storage' ? bytes : 0);
      void receive(request, fault, count).then((content) => {
        if (content === undefined) return;
        const made = fault?.answer === undefined ? respond(request, path, content) : undefined;
        if (fault?.loseResponse === true) request.socket.destroy();
        else send(response, made ?? { status: fault!.answer!, headers: fault!.headers });
      });
    });

  const storage = await start('storage', ({ url, headers }, path, content) => {
    const signed = new URL(url!, 'http://any').searchParams.get('signature') === signatureOf(path);
    if (!signed || headers.authorization !== undefined) return { status: 403 };
    // As S3, it refuses a body of unknown length.
    if (headers['content-length'] === undefined) return { status: 411 };
    const [, oid = '', number] = path.split('/');
    if (number !== undefined) parts.set(`${oid}/${number}`, content);
    else if (sha256(content) === oid) repositories.objects.set(oid, content);
    else return { status: 400 };
    return { status: 200, headers: { etag: etagOf(content) } };
  });
  const addressOf = (path: string) => `${storage.origin}${path}?signature=${signatureOf(path)}`;

  /** What the batch API says about one object. */
  const negotiate = ({ oid, size }: LfsObject) => {
    if (repositories.objects.has(oid)) return { oid, size };
    const verify = { href: `${hub.origin}/verify` };
    if (size <= partBytes) return { oid, size, actions: { upload: { href: addressOf(`/${oid}`) }, verify } };
    const header: Record<string, string> = { chunk_size: String(partBytes) };
    for (let part = 1; (part - 1) * partBytes < size; part += 1) {
      header[String(part).padStart(5, '0')] = addressOf(`/${oid}/${part}`);
    }
    return { oid, size, actions: { upload: { href: `${hub.origin}/complete`, header }, verify } };
  };

  const complete = ({ oid, parts: listed }: Completion): Answer => {
    const contents = listed.map(({ partNumber, etag }, index) => {
      const content = parts.get(`${oid}/${partNumber}`);
      return partNumber === index + 1 && content !== undefined && etagOf(content) === etag ? content : undefined;
    });
    const whole = Buffer.concat(contents.filter((each) => each !== undefined));
    if (contents.includes(undefined) || sha256(whole) !== oid) return { status: 400 };
    repositories.objects.set(oid, whole);
    return { status: 200 };
  };

  const hub = await start('hub', ({ method, headers }, path, content) => {
    if (headers.authorization !== `Bearer ${token}`) return { status: 401 };
    const isJson = content.length > 0 && headers['content-type'] !== 'application/x-ndjson';
    const body: unknown = isJson ? JSON.parse(content.toString()) : content.toString();
    if (path === '/complete') return complete(body as Completion);
    if (path === '/verify') {
      const { oid, size } = body as LfsObject;
      return { status: repositories.objects.get(oid)?.length === size ? 200 : 404 };
    }
    const [, repoId] = /^\/(.+)\.git\/info\/lfs\/objects\/batch$/.exec(path) ?? [];
    if (repoId === undefined) return repositories.handle(method!, path, body);
    if (!repositories.all.has(repoId)) return { status: 404 };
    return { status: 200, json: { objects: (body as { objects: LfsObject[] }).objects.map(negotiate) } };
  });

  return {
    endpoint: hub.origin,
    repositories: repositories.all,
    requests,
    faults,
    storedBytes: () => storedBytes,
    close: async () => {
      await Promise.all([stop(hub.server), stop(storage.server)]);
    },
  };
}

type Respond = (request: IncomingMessage, path: string, content: Buffer) => Answer;

interface LfsObject {
  oid: string;
  size: number;
}

interface Completion {
  oid: string;
  parts: { partNumber: number; etag: string }[];
}

const sha256 = (content: Uint8Array) => createHash('sha256').update(content).digest('hex');
const etagOf = (content: Uint8Array) => `"${createHash('md5').update(content).digest('hex')}"`;
const signatureOf = (path: string) => sha256(Buffer.from(`secret ${path}`)).slice(0, 16);

function takeFault(faults: PushFault[], path: string): PushFault | undefined {
  const found = faults.findIndex((fault) => path.endsWith(fault.path));
  return found === -1 ? undefined : faults.splice(found, 1)[0];
}

/** Reads a body; undefined if the connection broke, or was broken as a fault says. */
async function receive(
  request: IncomingMessage,
  fault: PushFault | undefined,
  onBytes: (bytes: number) => void,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let received = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      received += chunk.length;
      onBytes(chunk.length);
      if (fault?.afterBytes !== undefined && received >= fault.afterBytes) request.socket.destroy();
    }
  } catch {
    return undefined;
  }
  if (fault === undefined || fault.answer !== undefined || fault.loseResponse) return Buffer.concat(chunks);
  request.socket.destroy();
  return undefined;
}

function send(response: ServerResponse, { status, json, headers }: Answer): void {
  response.writeHead(status, headers).end(json === undefined ? undefined : JSON.stringify(json));
}
