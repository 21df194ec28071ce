import {
  type Attributes,
  type Context,
  SpanStatusCode,
  context as contexts,
  propagation,
  trace,
} from '@opentelemetry/api';
import { PairwiseError } from '@pairwise/errors';
import { attributes as names } from './names.ts';

/** Runs `work` in a span, a child of the active one. Attributes must never contain prompt or response text. */
export function withSpan<T>(name: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
  return trace.getTracer('pairwise').startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work();
    } catch (error) {
      span.setAttribute('error.type', error instanceof PairwiseError ? error.reason : 'INTERNAL');
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Runs `work` for a run: all spans and log lines inside, in other processes too, carry its name. */
export function withRun<T>(run: string, work: () => T): T {
  const baggage = propagation.getActiveBaggage() ?? propagation.createBaggage();
  return contexts.with(propagation.setBaggage(contexts.active(), baggage.setEntry(names.run, { value: run })), work);
}

/** The run that a context belongs to. */
export function runOf(context: Context): string | undefined {
  return propagation.getBaggage(context)?.getEntry(names.run)?.value;
}

/** The active run; undefined if there is none. */
export function activeRun(): string | undefined {
  return runOf(contexts.active());
}
