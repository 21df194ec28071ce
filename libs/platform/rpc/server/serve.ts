import { once } from 'node:events';
import {
  type Metadata,
  type ServerDuplexStream,
  type UntypedServiceImplementation,
  type handleBidiStreamingCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { context as contexts } from '@opentelemetry/api';
import { PairwiseError } from '@pairwise/errors';
import { unlessAborted } from '../abort.ts';
import { type Trailers, toTrailers } from '../messages/failures.ts';
import { requestCheckOf } from '../messages/requestCheck.ts';
import { type Definition, type Method, type RequestOf, type ResponseOf, serviceNameOf } from '../methods.ts';
import { type TracedCall, beginServerCall } from '../tracing.ts';

/** What a handler knows about its call besides the request. Can be passed to a client's method as options. */
export interface CallContext {
  /** Aborts when the caller cancels, the deadline is exceeded, or the server drains. The reason is a PairwiseError. */
  signal: AbortSignal;
  /** How long the caller waits, if it set a deadline. */
  deadline: Date | undefined;
  metadata: Metadata;
}

/** A handler for each kind of method: promises for single messages, async iterables for streams. */
export type Handler<M extends Method> = M['requestStream'] extends true
  ? M['responseStream'] extends true
    ? (requests: AsyncIterable<RequestOf<M>>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (requests: AsyncIterable<RequestOf<M>>, context: CallContext) => Promise<ResponseOf<M>>
  : M['responseStream'] extends true
    ? (request: RequestOf<M>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>>;

export type Handlers<D extends Definition> = { readonly [Name in keyof D]: Handler<D[Name]> };

/** A service and its handlers, ready for `startServer`. */
export interface Service {
  name: string;
  definition: Definition;
  bind(server: Hosting): UntypedServiceImplementation;
}

/** What the server provides for its calls. */
export interface Hosting {
  /** Registers an open call; the returned function removes it. `abort` ends the call with the given error. */
  open(call: { streams: boolean; abort: (error: PairwiseError) => void }): () => void;
  /** Throws PERMISSION_DENIED unless the caller may send this first message to the method at `path`. */
  permit(metadata: Metadata, path: string, message: unknown): void;
  /** Called with the method's path for every error that is not a PairwiseError. */
  defect(error: unknown, path: string): void;
}

/** gRPC's own retries respect it (gRFC A6). */
const doNotRepeat = 'grpc-retry-pushback-ms';
/** A call that failed with UNAVAILABLE after this long must not be retried at once. */
const patienceMs = 3000;

/** The part of a grpc-js call, of any kind, that is used here. */
type Call = ServerDuplexStream<unknown, unknown> & { request: unknown };
type AnyHandler = (input: unknown, context: CallContext) => Promise<unknown> | AsyncIterable<unknown>;

/** A method, and what its requests must pass before the handler gets them. */
interface CheckedMethod {
  method: Method;
  check: (request: unknown) => void;
}

/** Binds a generated service definition to its handlers, with types checked for each method. */
export function service<D extends Definition>(definition: D, handlers: Handlers<D>): Service {
  const bind = (hosting: Hosting) =>
    Object.fromEntries(
      Object.entries(definition).map(([name, method]) => {
        const handler = handlers[name] as AnyHandler;
        const checked = { method, check: requestCheckOf(method.path) };
        const run = (call: Call, reply?: sendUnaryData<unknown>) => {
          carry(hosting, checked, handler, call, reply).catch((error: unknown) => {
            hosting.defect(error, method.path);
            fail(call, reply, toTrailers(error));
          });
        };
        return [name, run as unknown as handleBidiStreamingCall<unknown, unknown>];
      }),
    );
  return { name: serviceNameOf(definition), definition, bind };
}

function contextOf(call: Call): CallContext & { abort: (error: PairwiseError) => void } {
  const controller = new AbortController();
  call.once('cancelled', () => controller.abort(new PairwiseError('CANCELLED', 'the caller cancelled the call')));
  const deadline = call.getDeadline();
  return {
    signal: controller.signal,
    abort: (error) => controller.abort(error),
    deadline: deadline === Infinity ? undefined : new Date(deadline),
    metadata: call.metadata,
  };
}

/** Yields the caller's messages. Throws if the call is aborted. */
async function* receive(
  call: Call,
  signal: AbortSignal,
  permit: (message: unknown) => void,
  check: (message: unknown) => void,
): AsyncGenerator<unknown, void> {
  const iterator = (call as AsyncIterable<unknown>)[Symbol.asyncIterator]();
  for (let first = true; ; first = false) {
    signal.throwIfAborted();
    const next = await unlessAborted(iterator.next(), signal);
    if (next.done === true) return;
    if (first) permit(next.value);
    check(next.value);
    yield next.value;
  }
}

/** Sends a stream of messages no faster than the caller reads them. */
async function send(call: Call, messages: AsyncIterable<unknown>, signal: AbortSignal): Promise<void> {
  const iterator = messages[Symbol.asyncIterator]();
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = await unlessAborted(iterator.next(), signal);
      if (next.done === true) return;
      if (!call.write(next.value)) await once(call, 'drain', { signal });
    }
  } finally {
    // Lets the handler clean up. If it is waiting for something, it does so later, and this call does not wait for it.
    iterator.return?.().then(undefined, () => undefined);
  }
}

async function answer(
  hosting: Hosting,
  { method, check }: CheckedMethod,
  handler: AnyHandler,
  call: Call,
  context: CallContext,
): Promise<unknown> {
  const permit = (message: unknown) => hosting.permit(call.metadata, method.path, message);
  if (!method.requestStream) {
    permit(call.request);
    check(call.request);
  }
  const requests = () => receive(call, context.signal, permit, check);
  const result = handler(method.requestStream ? requests() : call.request, context);
  if (method.responseStream) return send(call, result as AsyncIterable<unknown>, context.signal);
  return result;
}

function fail(call: Call, reply: sendUnaryData<unknown> | undefined, trailers: Trailers): void {
  if (reply === undefined) call.emit('error', trailers);
  else reply(trailers);
}

/** Runs one call from start to end: span, context, handler, status. */
async function carry(
  hosting: Hosting,
  checked: CheckedMethod,
  handler: AnyHandler,
  call: Call,
  reply: sendUnaryData<unknown> | undefined,
): Promise<void> {
  const { method } = checked;
  const began = Date.now();
  const { abort, ...context } = contextOf(call);
  const traced: TracedCall = beginServerCall(method.path, call.metadata);
  const close = hosting.open({ streams: method.requestStream || method.responseStream, abort });
  try {
    const response = await contexts.with(traced.context, () => answer(hosting, checked, handler, call, context));
    if (reply === undefined) call.end();
    else reply(null, response);
    traced.end(status.OK);
  } catch (thrown) {
    // After a call was aborted, whatever its handler throws is only a consequence.
    const error: unknown = context.signal.aborted ? context.signal.reason : thrown;
    if (!(error instanceof PairwiseError)) contexts.with(traced.context, () => hosting.defect(error, method.path));
    const trailers = toTrailers(error);
    // If each caller in a chain retried a call that had itself waited for something that is down, they would wait for
    // minutes.
    if (trailers.code === status.UNAVAILABLE && Date.now() - began > patienceMs)
      trailers.metadata.set(doNotRepeat, '-1');
    traced.end(trailers.code);
    fail(call, reply, trailers);
  } finally {
    close();
  }
}
