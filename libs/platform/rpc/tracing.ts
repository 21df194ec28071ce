import { type Metadata, status } from '@grpc/grpc-js';
import {
  type Attributes,
  type Context,
  type Histogram,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type TextMapSetter,
  context,
  metrics,
  propagation,
  trace,
} from '@opentelemetry/api';

// Names from OpenTelemetry's semantic conventions for RPC; the official gRPC instrumentation still sends older ones.
const methodAttribute = 'rpc.method';
const codeAttribute = 'rpc.response.status_code';

const getter: TextMapGetter<Metadata> = {
  get: (metadata, key) => metadata.get(key).map(String),
  keys: (metadata) => Object.keys(metadata.getMap()),
};
const setter: TextMapSetter<Metadata> = { set: (metadata, key, value) => metadata.set(key, value) };

/** Codes that mean that the server is at fault, rather than the caller. */
const serverFaults = new Set<status>([
  status.UNKNOWN,
  status.DEADLINE_EXCEEDED,
  status.UNIMPLEMENTED,
  status.INTERNAL,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]);

const seconds = {
  unit: 's',
  advice: { explicitBucketBoundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] },
};

const durations = new Map<SpanKind, Histogram>();

/**
 * `rpc.server.call.duration` or `rpc.client.call.duration`; created at the first call, since the SDK does not exist
 * earlier.
 */
function durationOf(kind: SpanKind): Histogram {
  const known = durations.get(kind);
  if (known !== undefined) return known;
  const side = kind === SpanKind.SERVER ? 'server' : 'client';
  const made = metrics.getMeter('pairwise.rpc').createHistogram(`rpc.${side}.call.duration`, seconds);
  durations.set(kind, made);
  return made;
}

/** The span and the duration of one call. */
export interface TracedCall {
  /** The context to run or send the call in. */
  context: Context;
  /** Ends the span and records the duration. Only the first code counts. */
  end(code: status): void;
}

function begin(path: string, kind: SpanKind, parent: Context, attributes: Attributes): TracedCall {
  const method = path.slice(1);
  const all: Attributes = { 'rpc.system.name': 'grpc', [methodAttribute]: method, ...attributes };
  const span: Span = trace.getTracer('pairwise.rpc').startSpan(method, { kind, attributes: all }, parent);
  const began = performance.now();
  let open = true;
  return {
    context: trace.setSpan(parent, span),
    end: (code) => {
      if (!open) return;
      open = false;
      const name = status[code];
      const failed = kind === SpanKind.SERVER ? serverFaults.has(code) : code !== status.OK;
      const outcome: Attributes = { [codeAttribute]: name, ...(failed ? { 'error.type': name } : {}) };
      span.setAttributes(outcome);
      if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
      durationOf(kind).record((performance.now() - began) / 1000, { ...all, ...outcome });
    },
  };
}

/** Begins the span of an incoming call, as a child of the caller's span if the metadata contains one (W3C). */
export function beginServerCall(path: string, metadata: Metadata): TracedCall {
  return begin(path, SpanKind.SERVER, propagation.extract(context.active(), metadata, getter), {});
}

/** Begins the span of an outgoing call and writes its context to the metadata. `address` is `host:port`. */
export function beginClientCall(path: string, metadata: Metadata, address: string): TracedCall {
  const colon = address.lastIndexOf(':');
  const attributes = { 'server.address': address.slice(0, colon), 'server.port': Number(address.slice(colon + 1)) };
  const call = begin(path, SpanKind.CLIENT, context.active(), attributes);
  propagation.inject(call.context, metadata, setter);
  return call;
}
