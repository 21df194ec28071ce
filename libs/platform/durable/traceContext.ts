import { type Context, ROOT_CONTEXT, SpanKind, context as contexts, propagation, trace } from '@opentelemetry/api';

/** W3C trace context and baggage, as JSON. */
export type Carrier = Record<string, string>;

const attributesOf = (queue: string, id: string) => ({
  'messaging.system': 'dbos',
  'messaging.destination.name': queue,
  'messaging.message.id': id,
});

const tracer = () => trace.getTracer('pairwise.durable');

/** Puts work into a queue, in a producer span. `put` receives the carrier to store with the work. */
export async function sending(queue: string, id: string, put: (carrier: Carrier) => Promise<unknown>): Promise<void> {
  const span = tracer().startSpan(`send ${queue}`, { kind: SpanKind.PRODUCER, attributes: attributesOf(queue, id) });
  const carrier: Carrier = {};
  propagation.inject(trace.setSpan(contexts.active(), span), carrier);
  try {
    await put(carrier);
  } finally {
    span.end();
  }
}

/**
 * The context that work is executed in: the sender's trace, continued in a consumer span that links to the sender's
 * span.
 */
export function taken(queue: string, id: string, carrier: Carrier): Context {
  const sender = propagation.extract(ROOT_CONTEXT, carrier);
  const sent = trace.getSpanContext(sender);
  const links = sent === undefined ? [] : [{ context: sent }];
  const options = { kind: SpanKind.CONSUMER, links, attributes: attributesOf(queue, id) };
  const span = tracer().startSpan(`process ${queue}`, options, sender);
  // Ended at once, since work may take hours; its steps have spans of their own.
  span.end();
  return trace.setSpan(sender, span);
}
