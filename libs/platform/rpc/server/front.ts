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
  /** The address (`host:port`) of each service by full name, e.g. `pairwise.v1.TrainingService`. */
  routes: Readonly<Record<string, string>>;
  log: { error(fields: object, message: string): void };
}

export interface Front {
  /** `host:port` with the actual port. */
  address: string;
  /** Stops accepting connections and ends the open ones, by force after `deadlineMs` (default 5 s). */
  stop(deadlineMs?: number): Promise<void>;
}

/** The number of calls that one caller may have open: a token holder or, without authentication, a machine. */
const callsPerCaller = 2000;

/** One connection takes more calls than a caller may have open, so that surplus calls are refused and do not wait. */
const limits = { maxSessionMemory: 256, settings: { maxConcurrentStreams: 2 * callsPerCaller } };

/** Counts the open calls of each caller. */
function openCounts() {
  const counts = new Map<string, number>();
  return {
    /** Counts a call until its stream closes. Throws TOO_MANY_CALLS if the caller has reached the limit. */
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

/** A listener that uses a renewed certificate for new connections. */
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
 * Opens the only port that clients connect to. A call is passed on undecoded to the service named in its path. Health
 * and reflection are answered here, for all services. A service that is down is UNAVAILABLE. Accepts HTTP/2 in clear
 * text, or TLS. Other machines can connect only over TLS and with a token (see `checkAccess`), which is passed on so
 * that backends can check its roles. Connections to backends are in clear text.
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

  /** Returns who is calling. Throws UNAUTHENTICATED if authentication is required and missing. */
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
    relay(stream, upstream, name, (error) =>
      log.error({ err: error, path }, `a call to ${name} failed because of a bug`),
    );
  };

  server.on('stream', (stream, headers) => {
    try {
      route(stream, headers);
    } catch (error) {
      stream.on('error', () => undefined);
      if (!(error instanceof PairwiseError)) log.error({ err: error }, 'a call failed because of a bug in the front');
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
