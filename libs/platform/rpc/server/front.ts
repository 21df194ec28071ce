import { once } from 'node:events';
import {
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  createSecureServer,
  createServer,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { status } from '@grpc/grpc-js';
import { PairwiseError } from '@pairwise/errors';
import { type Access, checkAccess, isGuarded } from '../security/access.ts';
import { openBackends, sessionWindowBytes } from './backends.ts';
import { errorTrailers, passed, refuse, relay, statusTrailers } from './relay.ts';
import { startServer } from './server.ts';
import { readTls, whenRenewed } from '../security/tls.ts';
import { openTokens } from '../security/tokens.ts';

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

/** Calls that one caller may have open at once: the holder of a token or, where none is asked for, one machine. */
const callsPerCaller = 2000;

/** One connection takes more calls than its caller may have open, so that the surplus is refused and does not wait. */
const limits = { maxSessionMemory: 256, settings: { maxConcurrentStreams: 2 * callsPerCaller } };

/** Counts the open calls of each caller. */
function openCounts() {
  const counts = new Map<string, number>();
  return {
    /** Counts a call until its stream closes. Throws TOO_MANY_CALLS where the caller has as many open as it may. */
    enter: (caller: string, stream: ServerHttp2Stream): void => {
      const count = counts.get(caller) ?? 0;
      if (count >= callsPerCaller) {
        const message = `${caller} has ${count} calls open, which is the limit; end some, such as watches, and call again`;
        throw new PairwiseError('TOO_MANY_CALLS', message);
      }
      counts.set(caller, count + 1);
      stream.once('close', () => {
        const left = counts.get(caller)! - 1;
        if (left === 0) counts.delete(caller);
        else counts.set(caller, left);
      });
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
  const { log, address } = options;
  const holderOf = openTokens(options, log);
  const routes = new Map(Object.entries(options.routes));
  const own = await startServer({ address: '127.0.0.1:0', services: [], reflect: [...routes.keys()], log });
  const backends = openBackends();
  const counts = openCounts();
  const sessions = new Set<ServerHttp2Session>();
  const server = listener(options, log);

  /** Who calls. Throws UNAUTHENTICATED where that must be shown and is not. */
  const callerOf = (stream: ServerHttp2Stream, authorization: string | undefined): string => {
    if (!isGuarded(options)) return stream.session?.socket.remoteAddress ?? '';
    const holder = holderOf(authorization);
    if (holder === undefined) throw new PairwiseError('UNAUTHENTICATED', 'the call has no valid bearer token');
    return holder.name;
  };

  const route = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    const path = headers[':path'] ?? '';
    const name = path.split('/')[1] ?? '';
    const backend = name.startsWith('grpc.') ? own.address : routes.get(name);
    if (backend === undefined) {
      refuse(stream, statusTrailers(status.UNIMPLEMENTED, `there is no service ${name}`));
      return;
    }
    if (!name.startsWith('grpc.health.')) counts.enter(callerOf(stream, headers.authorization), stream);
    const upstream = backends.request(backend, { ':method': 'POST', ':path': path, ...passed(headers) });
    relay(stream, upstream, name, (error) => log.error({ err: error, path }, `a call of ${name} failed by a defect`));
  };

  server.on('stream', (stream, headers) => {
    try {
      route(stream, headers);
    } catch (error) {
      stream.on('error', () => undefined);
      if (!(error instanceof PairwiseError)) log.error({ err: error }, 'a call failed by a defect of the front');
      refuse(stream, errorTrailers(error));
    }
  });
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => undefined);
    session.setLocalWindowSize(sessionWindowBytes);
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
