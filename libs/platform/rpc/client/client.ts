import { once } from 'node:events';
import {
  type CallOptions as GrpcCallOptions,
  type ClientDuplexStream,
  ChannelCredentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { context as contexts } from '@opentelemetry/api';
import { PairwiseError } from '@pairwise/errors';
import { type Channels, openChannels } from './channels.ts';
import { fromServiceError } from '../messages/failures.ts';
import type { Definition, Method, RequestOf, ResponseOf } from '../methods.ts';
import type { Security } from '../security/security.ts';
import { type TracedCall, beginClientCall } from '../tracing.ts';

/** Options of one call. A handler can pass its own context: the call then ends together with the one being handled. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
  deadline?: Date | undefined;
}

export type ClientMethod<M extends Method> = (
  request: M['requestStream'] extends true ? AsyncIterable<RequestOf<M>> : RequestOf<M>,
  options?: CallOptions,
) => M['responseStream'] extends true ? AsyncGenerator<ResponseOf<M>, void> : Promise<ResponseOf<M>>;

/** One method for each method of the service, named as in the generated definition. All errors are PairwiseErrors. */
export type Client<D extends Definition> = { readonly [Name in keyof D]: ClientMethod<D[Name]> } & {
  /** Disconnects once the open calls have ended. */
  close(): void;
};

export interface ClientOptions {
  /** `host:port`. */
  address: string;
  /** See `openSecurity`. Default: clear text, and no token. */
  security?: Security | undefined;
}

/** The part of a grpc-js call, of any kind, that is used here. */
type Call = ClientDuplexStream<unknown, unknown>;
type Callback = (error: ServiceError | null, response?: unknown) => void;

interface Sender {
  start(method: Method, input: unknown, callback: Callback): { call: Call; traced: TracedCall };
}

const isServiceError = (error: unknown): error is ServiceError =>
  error instanceof Error && 'metadata' in error && error.metadata instanceof Metadata;

/** The error to throw when a call has ended: the caller's own abort, a gRPC status, or a bug of ours. */
function failureOf(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted === true) {
    const { reason } = signal as { reason: unknown };
    return reason instanceof PairwiseError
      ? reason
      : new PairwiseError('CANCELLED', 'the call was cancelled', { cause: reason });
  }
  return isServiceError(error) ? fromServiceError(error) : error;
}

function endCodeOf(error: unknown): status {
  if (isServiceError(error)) return error.code;
  return status.CANCELLED;
}

/** Sends a stream of requests no faster than the server reads them. Stops when the call ends. */
async function feed(call: Call, requests: AsyncIterable<unknown>, over: AbortSignal): Promise<void> {
  for await (const request of requests) {
    if (over.aborted) return;
    if (!call.write(request)) await once(call, 'drain', { signal: over });
  }
  call.end();
}

async function single(sender: Sender, method: Method, input: unknown, signal?: AbortSignal): Promise<unknown> {
  signal?.throwIfAborted();
  const over = new AbortController();
  let fedError: unknown;
  let cancel: (() => void) | undefined;
  let traced: TracedCall | undefined;
  try {
    const response = await new Promise((resolve, reject) => {
      const started = sender.start(method, input, (error, value) => {
        if (error === null) resolve(value);
        else reject(error);
      });
      traced = started.traced;
      cancel = () => started.call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      if (!method.requestStream) return;
      feed(started.call, input as AsyncIterable<unknown>, over.signal).catch((error: unknown) => {
        if (over.signal.aborted) return;
        fedError = error;
        started.call.cancel();
      });
    });
    traced?.end(status.OK);
    return response;
  } catch (error) {
    traced?.end(endCodeOf(error));
    throw failureOf(fedError ?? error, signal);
  } finally {
    over.abort();
    if (cancel !== undefined) signal?.removeEventListener('abort', cancel);
  }
}

async function* stream(
  begin: () => { call: Call; traced: TracedCall },
  method: Method,
  input: unknown,
  signal?: AbortSignal,
): AsyncGenerator<unknown, void> {
  signal?.throwIfAborted();
  const { call, traced } = begin();
  const over = new AbortController();
  const cancel = () => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  let fedError: unknown;
  if (method.requestStream) {
    feed(call, input as AsyncIterable<unknown>, over.signal).catch((error: unknown) => {
      if (over.signal.aborted) return;
      fedError = error;
      call.cancel();
    });
  }
  let ended: status = status.CANCELLED;
  try {
    for await (const message of call as AsyncIterable<unknown>) yield message;
    ended = status.OK;
  } catch (error) {
    ended = endCodeOf(error);
    throw failureOf(fedError ?? error, signal);
  } finally {
    over.abort();
    signal?.removeEventListener('abort', cancel);
    // Does nothing if the call has ended. If the consumer left early, this lets the server know.
    call.on('error', () => undefined);
    call.cancel();
    traced.end(ended);
  }
}

function senderOf(channels: Channels, options: ClientOptions, { deadline }: CallOptions): Sender {
  return {
    start: (method, input, callback) => {
      const metadata = new Metadata();
      const token = options.security?.token?.();
      if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
      const traced = beginClientCall(method.path, metadata, options.address);
      const { path, responseDeserialize: decode } = method;
      const encode = method.requestSerialize as (message: unknown) => Buffer;
      const settings: GrpcCallOptions = deadline === undefined ? {} : { deadline };
      const [client, giveBack] = channels.lend();
      const begin = (): unknown => {
        if (method.requestStream && method.responseStream) {
          return client.makeBidiStreamRequest(path, encode, decode, metadata, settings);
        }
        if (method.requestStream)
          return client.makeClientStreamRequest(path, encode, decode, metadata, settings, callback);
        if (method.responseStream)
          return client.makeServerStreamRequest(path, encode, decode, input, metadata, settings);
        return client.makeUnaryRequest(path, encode, decode, input, metadata, settings, callback);
      };
      const call = begin() as Call;
      // grpc-js emits this last, however the call ends.
      call.once('status', giveBack);
      return { call, traced };
    },
  };
}

/**
 * Opens a client for a service from its generated definition. Nothing is sent until a method is called. UNAVAILABLE is
 * retried up to four times within about two seconds. Single replies are promises, streams are async generators. Leaving
 * a stream, aborting the signal or exceeding the deadline cancels the call. All errors are PairwiseErrors with the
 * server's reason. The active trace context is sent along.
 */
export function openClient<D extends Definition>(definition: D, options: ClientOptions): Client<D> {
  const credentials = options.security?.credentials ?? ChannelCredentials.createInsecure();
  const channels = openChannels(options.address, credentials);
  const methods = Object.entries(definition).map(([name, method]) => {
    const call = (input: unknown, settings: CallOptions = {}) => {
      const sender = senderOf(channels, options, settings);
      if (!method.responseStream) return single(sender, method, input, settings.signal);
      // A generator starts at its first `next`, perhaps in another context; the trace must be that of the caller.
      const begin = contexts.bind(contexts.active(), () => sender.start(method, input, () => undefined));
      return stream(begin, method, input, settings.signal);
    };
    return [name, call];
  });
  return { ...Object.fromEntries(methods), close: () => channels.close() } as Client<D>;
}
