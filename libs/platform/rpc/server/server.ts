import { setTimeout as sleep } from 'node:timers/promises';
import {
  Server,
  ServerCredentials,
  type ServerInterceptor,
  ServerInterceptingCall,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { PairwiseError } from '@pairwise/errors';
import { type Access, checkAccess } from '../security/access.ts';
import { openAdmission } from '../security/admission.ts';
import { toTrailers } from '../messages/failures.ts';
import { type HealthOptions, startHealth } from './health.ts';
import { listen } from './listen.ts';
import { addReflection } from './reflection.ts';
import type { Hosting, Service } from './serve.ts';
import { serverTls } from '../security/tls.ts';

export interface ServerOptions extends Access, HealthOptions {
  services: readonly Service[];
  /** Full names of further services that reflection lists. Default: none. */
  reflect?: readonly string[];
  /** Receives errors of handlers that callers must not see. */
  log: { error(fields: object, message: string): void };
}

export interface RunningServer {
  /** `host:port` with the actual port. */
  address: string;
  /** The address of the port that serves health only, if there is one. */
  healthAddress: string | undefined;
  /**
   * Stops gracefully: reports not ready, accepts no new connections, and ends streams with UNAVAILABLE. Single calls
   * may finish until the deadline (milliseconds from now, default 10 s); then they are cut off.
   */
  drain(deadlineMs?: number): Promise<void>;
}

/** The largest message in either direction, in bytes. Anything larger is streamed in chunks. */
export const maxMessageBytes = 8 * 1024 * 1024;

const limits = {
  'grpc.max_concurrent_streams': 1000,
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': maxMessageBytes,
  // Megabytes of buffers per connection; the default is unlimited.
  'grpc-node.max_session_memory': 256,
  // No maximum age: grpc-js breaks the streams of an aged connection at its next keepalive ping.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
};

const draining = () => new PairwiseError('UNAVAILABLE', 'the server is stopping; call again in a moment');

/** Keeps track of open calls: ours, and those of health and reflection. */
function openCalls() {
  const own = new Set<{ streams: boolean; abort: (error: PairwiseError) => void }>();
  const foreign = new Set<() => void>();
  const track: ServerInterceptor = (method, call) => {
    const end = () => call.sendStatus(toTrailers(draining()));
    const foreignStream = method.responseStream && method.path.startsWith('/grpc.');
    return new ServerInterceptingCall(call, {
      start: (next) => {
        if (foreignStream) foreign.add(end);
        next({ onCancel: () => foreign.delete(end) });
      },
      sendStatus: (status, next) => {
        foreign.delete(end);
        next(status);
      },
    });
  };
  return {
    own,
    track,
    endStreams: () => {
      for (const call of own) if (call.streams) call.abort(draining());
      for (const end of foreign) end();
    },
  };
}

/** Waits for a promise, but no longer than `ms` milliseconds. */
async function unlessLater(promise: Promise<unknown>, ms: number): Promise<void> {
  const enough = new AbortController();
  await Promise.race([promise, sleep(ms, undefined, { signal: enough.signal }).catch(() => undefined)]);
  enough.abort();
}

/**
 * Starts a gRPC server with limits on messages, streams and memory, with health v1 (`""` and each service for
 * readiness, `liveness`, `startup`) and with reflection. Other machines can connect only over TLS and with
 * authentication (see `checkAccess`).
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  checkAccess(options);
  const calls = openCalls();
  const tls = options.tls === undefined ? undefined : serverTls(options.tls, options.log);
  const admission = openAdmission(options, options.log);
  const interceptors = [calls.track, ...(admission === undefined ? [] : [admission.interceptor])];
  const server = new Server({ ...limits, interceptors });
  const hosting: Hosting = {
    open: (call) => {
      calls.own.add(call);
      return () => calls.own.delete(call);
    },
    permit: (metadata, path, message) => admission?.permit(metadata, path, message),
    defect: (error, path) =>
      options.log.error({ err: error, method: path }, `${path.slice(1)} failed because of a bug`),
  };
  for (const each of options.services) {
    server.addService(each.definition as unknown as ServiceDefinition, each.bind(hosting));
  }
  const names = options.services.map(({ name }) => name);
  const health = await startHealth(options, names);
  health.addToServer(server);
  addReflection(server, [...names, ...(options.reflect ?? []), 'grpc.health.v1.Health']);
  const address = await listen(server, options.address, tls?.credentials ?? ServerCredentials.createInsecure());

  return {
    address,
    healthAddress: health.address,
    drain: async (deadlineMs = 10_000) => {
      health.leave();
      const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      calls.endStreams();
      await unlessLater(closed, deadlineMs);
      for (const call of calls.own) call.abort(draining());
      // Their answers still have to be sent.
      await unlessLater(closed, 250);
      server.forceShutdown();
      health.stop();
      tls?.stop();
    },
  };
}
