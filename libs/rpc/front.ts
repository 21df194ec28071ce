import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  connect,
  constants,
  createSecureServer,
  createServer,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { status } from '@grpc/grpc-js';
import { type Access, checkAccess, isGuarded } from './access.ts';
import { startServer } from './server.ts';
import { readTls, whenRenewed } from './tls.ts';
import { openTokens } from './tokens.ts';

export interface FrontOptions extends Access {
  /** Address (`host:port`) of each service by its full name, `pairwise.v1.TrainingService`. */
  routes: Readonly<Record<string, string>>;
  log: { error(fields: object, message: string): void };
}

export interface Front {
  /** `host:port` with the real port. */
  address: string;
  /** Takes no more connections and ends the open ones, after `deadlineMs` (default 5 s) by force. */
  stop(deadlineMs?: number): Promise<void>;
}

/** Flow control of a whole connection: a stream whose reader is slow holds 64 KiB of it, and must not hold up others. */
const connectionWindowBytes = 64 * 1024 * 1024;
const limits = { maxSessionMemory: 256, settings: { maxConcurrentStreams: 1000 } };

/** Headers that are passed on: pseudo headers are made anew, and connection headers are HTTP/1's. */
function passed(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':') && name !== 'connection'));
}

/** Trailers of a status. In messages, gRPC escapes what is not printable ASCII, and the escape itself. */
const failure = (code: status, message: string): OutgoingHttpHeaders => ({
  'grpc-status': String(code),
  'grpc-message': message.replaceAll(/[^ -$&-~]/gu, encodeURIComponent),
});

/** Ends a call with a status of our own, whether its response has begun or not. */
function refuse(stream: ServerHttp2Stream, code: status, message: string): void {
  if (stream.destroyed || stream.writableEnded) return;
  const trailers = failure(code, message);
  if (!stream.headersSent) {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...trailers }, { endStream: true });
    // What the caller still sends is of no use.
    stream.resume();
    return;
  }
  stream.removeAllListeners('wantTrailers');
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end();
}

/** Passes one call to a backend and its answer back: messages, trailers, resets; each side as fast as the other reads. */
function relay(stream: ServerHttp2Stream, upstream: ClientHttp2Stream, name: string): void {
  let trailers: OutgoingHttpHeaders | undefined;
  upstream.on('response', (headers, flags) => {
    if (stream.destroyed) return;
    const head = { ':status': headers[':status'], ...passed(headers) };
    if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) {
      stream.respond(head, { endStream: true });
      return;
    }
    stream.respond(head, { waitForTrailers: true });
    stream.once('wantTrailers', () => {
      stream.sendTrailers(trailers ?? failure(status.UNAVAILABLE, `${name} broke off its answer`));
    });
    upstream.pipe(stream);
  });
  upstream.on('trailers', (headers: IncomingHttpHeaders) => (trailers = passed(headers)));
  upstream.on('error', (error: Error) =>
    refuse(stream, status.UNAVAILABLE, `${name} is out of reach: ${error.message}`),
  );
  upstream.on('close', () => refuse(stream, status.UNAVAILABLE, `${name} broke off its answer`));
  stream.on('error', () => undefined);
  stream.on('close', () => {
    if (!upstream.closed) upstream.close(constants.NGHTTP2_CANCEL);
  });
  stream.pipe(upstream);
}

/** One connection to each backend, made when it is needed and again after it was lost. */
function openBackends() {
  const sessions = new Map<string, ClientHttp2Session>();
  return {
    session: (address: string): ClientHttp2Session => {
      const open = sessions.get(address);
      if (open !== undefined && !open.closed && !open.destroyed) return open;
      const session = connect(`http://${address}`);
      session.on('connect', () => session.setLocalWindowSize(connectionWindowBytes));
      // Each call on it fails by itself.
      session.on('error', () => undefined);
      const forget = () => {
        if (sessions.get(address) === session) sessions.delete(address);
      };
      // A backend that is stopping finishes its calls, but takes no new ones.
      session.on('goaway', forget);
      session.on('close', forget);
      sessions.set(address, session);
      return session;
    },
    close: () => {
      for (const session of sessions.values()) session.destroy();
    },
  };
}

/** A listener whose certificate is renewed for new connections when its files change. */
function listener({ tls }: Access, log: FrontOptions['log']): Http2Server | Http2SecureServer {
  if (tls === undefined) return createServer(limits);
  const current = readTls(tls, log);
  const server = createSecureServer({ ...limits, ...current() });
  server.once(
    'close',
    whenRenewed(current, (options) => server.setSecureContext(options)),
  );
  return server;
}

/**
 * Opens the one port that clients know: calls go to the service that their path names, undecoded. Health and reflection
 * are answered here, for all services. A service that is away is UNAVAILABLE. Speaks HTTP/2 in clear text, or TLS;
 * other machines reach it only under TLS with a token (see `checkAccess`), which is passed on for backends to see what its
 * holder may do. Backends are spoken to in clear text.
 */
export async function startFront(options: FrontOptions): Promise<Front> {
  checkAccess(options);
  const { routes, log, address } = options;
  const holderOf = openTokens(options, log);
  const allowed = (authorization: string | undefined) => !isGuarded(options) || holderOf(authorization) !== undefined;
  const own = await startServer({ address: '127.0.0.1:0', services: [], reflect: Object.keys(routes), log });
  const backends = openBackends();
  const sessions = new Set<ServerHttp2Session>();
  const server = listener(options, log);

  server.on('stream', (stream, headers) => {
    const name = (headers[':path'] ?? '').split('/')[1] ?? '';
    const backend = name.startsWith('grpc.') ? own.address : routes[name];
    if (backend === undefined) {
      refuse(stream, status.UNIMPLEMENTED, `there is no service ${name}`);
    } else if (!name.startsWith('grpc.health.') && !allowed(headers.authorization)) {
      refuse(stream, status.UNAUTHENTICATED, 'the call has no valid bearer token');
    } else {
      const head = { ':method': 'POST', ':path': headers[':path'], ...passed(headers) };
      relay(stream, backends.session(backend).request(head), name);
    }
  });
  server.on('session', (session) => {
    sessions.add(session);
    session.setLocalWindowSize(connectionWindowBytes);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => undefined);
  });
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon);
  server.listen(Number(address.slice(colon + 1)), host.replace(/^\[(.*)\]$/, '$1'));
  await once(server, 'listening');

  return {
    address: `${host}:${(server.address() as AddressInfo).port}`,
    stop: async (deadlineMs = 5000) => {
      const closed = once(server, 'close');
      server.close();
      for (const session of sessions) session.close();
      const force = setTimeout(() => sessions.forEach((session) => session.destroy()), deadlineMs);
      await closed;
      clearTimeout(force);
      backends.close();
      await own.drain(0);
    },
  };
}
