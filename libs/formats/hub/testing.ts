import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { listen, stop } from './testing.server.ts';

export { startTestPushHub, type PushFault, type TestPushHub } from './testing.push.ts';

/** A request that a server received. */
export interface SeenRequest {
  server: 'hub' | 'cdn';
  method: string;
  path: string;
  range: string | undefined;
  authorization: string | undefined;
}

/** How the next request whose URL ends in `path` fails. */
export type Fault =
  | { path: string; answer: number; headers?: Record<string, string> }
  | { path: string; breakAfter: number }
  | { path: string; content: Uint8Array }
  | { path: string; ignoreRange: true };

export interface TestHub {
  endpoint: string;
  commit: string;
  requests: SeenRequest[];
  /** The faults to come; each happens once. */
  faults: Fault[];
  /** The etag of a file: its sha256 in LFS (weights), otherwise its git object id. */
  etagOf(path: string): string;
  close(): Promise<void>;
}

/**
 * For specs: a server with the hub's URLs and headers, and a second one to which it redirects for weights, as the hub
 * redirects to its content network. `revisions` are names of the only commit.
 */
export async function startTestHub(
  repoId: string,
  files: Record<string, Uint8Array>,
  revisions: readonly string[] = ['main'],
): Promise<TestHub> {
  const commit = createHash('sha1')
    .update(JSON.stringify(Object.keys(files)))
    .digest('hex');
  const requests: SeenRequest[] = [];
  const faults: Fault[] = [];
  const inLfs = (path: string) => /\.(safetensors|bin)$/.test(path);
  const etagOf = (path: string) => {
    const content = files[path]!;
    if (inLfs(path)) return createHash('sha256').update(content).digest('hex');
    return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
  };

  const cdn = await listen((request, response) => {
    note(requests, 'cdn', request);
    const path = decodeURIComponent(request.url!.slice(1));
    sendContent(request, response, files[path]!, takeFault(faults, path));
  });

  const hub = await listen((request, response) => {
    note(requests, 'hub', request);
    const path = decodeURIComponent(new URL(request.url!, 'http://hub').pathname);
    const fault = takeFault(faults, path, inLfs(path) ? 'HEAD' : request.method);
    if (fault !== undefined && 'answer' in fault) {
      response.writeHead(fault.answer, fault.headers).end();
      return;
    }
    const revision = /^\/api\/models\/(.+)\/revision\/(.+)$/.exec(path);
    const isKnown = (name: string) => name === commit || revisions.includes(name);
    if (revision?.[1] === repoId && isKnown(revision[2]!)) {
      const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
      response.end(JSON.stringify({ id: repoId, sha: commit, siblings }));
      return;
    }
    const [, file] = /^\/.+?\/.+?\/resolve\/[^/]+\/(.+)$/.exec(path) ?? [];
    if (!path.startsWith(`/${repoId}/resolve/`) || file === undefined || !Object.hasOwn(files, file)) {
      const code = revision?.[1] === repoId ? 'RevisionNotFound' : 'RepoNotFound';
      response.writeHead(404, { 'x-error-code': file === undefined ? code : 'EntryNotFound' }).end();
      return;
    }
    response.setHeader('x-repo-commit', commit);
    if (inLfs(file)) {
      response.writeHead(302, {
        location: `${cdn.origin}/${encodeURIComponent(file)}`,
        'x-linked-etag': `"${etagOf(file)}"`,
        'x-linked-size': String(files[file]!.length),
      });
      response.end();
      return;
    }
    response.setHeader('etag', `"${etagOf(file)}"`);
    sendContent(request, response, files[file]!, fault);
  });

  return {
    endpoint: hub.origin,
    commit,
    requests,
    faults,
    etagOf,
    close: async () => {
      await Promise.all([stop(hub.server), stop(cdn.server)]);
    },
  };
}

function note(requests: SeenRequest[], server: 'hub' | 'cdn', { method, url, headers }: IncomingMessage): void {
  requests.push({ server, method: method!, path: url!, range: headers.range, authorization: headers.authorization });
}

/** A fault of the content is kept until a request for content. */
function takeFault(faults: Fault[], path: string, method = 'GET'): Fault | undefined {
  const found = faults.findIndex((fault) => path.endsWith(fault.path) && ('answer' in fault || method === 'GET'));
  return found === -1 ? undefined : faults.splice(found, 1)[0];
}

function sendContent(request: IncomingMessage, response: ServerResponse, whole: Uint8Array, fault?: Fault): void {
  if (fault !== undefined && 'answer' in fault) {
    response.writeHead(fault.answer, fault.headers).end();
    return;
  }
  const content = fault !== undefined && 'content' in fault ? fault.content : whole;
  const asked = fault !== undefined && 'ignoreRange' in fault ? undefined : request.headers.range;
  const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(asked ?? '') ?? [];
  const start = Number(from);
  const end = to === '' ? content.length : Number(to) + 1;
  const part = content.subarray(start, end);
  if (asked !== undefined) {
    response.statusCode = 206;
    response.setHeader('content-range', `bytes ${start}-${end - 1}/${content.length}`);
  }
  response.setHeader('content-length', part.length);
  if (request.method === 'HEAD') response.end();
  else if (fault !== undefined && 'breakAfter' in fault) {
    response.write(part.subarray(0, fault.breakAfter), () => setTimeout(() => response.destroy(), 20));
  } else response.end(part);
}
