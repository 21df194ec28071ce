import {
  type Counter,
  type Gauge,
  type Histogram,
  type Meter,
  type Observable,
  metrics as api,
} from '@opentelemetry/api';
import { type MetricAttributes, type MetricName, registry } from './metrics.ts';

type Instrument = Counter & Gauge & Histogram;

const instruments = new Map<MetricName, Instrument>();

const meter = (): Meter => api.getMeter('pairwise');

/** Creates the instrument at its first use, since the SDK does not exist earlier. */
function instrument(name: MetricName): Instrument {
  const known = instruments.get(name);
  if (known !== undefined) return known;
  const { kind, unit, buckets } = registry[name];
  const make = {
    counter: 'createCounter',
    gauge: 'createGauge',
    histogram: 'createHistogram',
    level: 'createUpDownCounter',
  };
  const options = { unit, ...(buckets && { advice: { explicitBucketBoundaries: [...buckets] } }) };
  const made = meter()[make[kind] as 'createCounter'](name, options) as Instrument;
  instruments.set(name, made);
  return made;
}

/** Adds an amount to a counter. */
export function count<Name extends MetricName<'counter'>>(
  name: Name,
  amount: number,
  attributes: MetricAttributes<Name>,
): void {
  instrument(name).add(amount, attributes);
}

/** Records a value of a histogram, or the latest value of a gauge. */
export function record<Name extends MetricName<'histogram' | 'gauge'>>(
  name: Name,
  value: number,
  attributes: MetricAttributes<Name>,
): void {
  instrument(name).record(value, attributes);
}

/** One value of a metric that is read when it is exported. */
export type Observation<Name extends MetricName> = Name extends MetricName
  ? { name: Name; value: number; attributes: MetricAttributes<Name> }
  : never;

/**
 * Reads metrics with every export: gauges, and counters that are kept elsewhere. A series that `read` leaves out has
 * ended. Returns a function that stops the readings; call it before closing what they read.
 */
export function observe<Name extends MetricName<'counter' | 'gauge' | 'level'>>(
  names: readonly Name[],
  read: () => Observation<Name>[] | Promise<Observation<Name>[]>,
): () => void {
  const observables = new Map<string, Observable>(names.map((name) => [name, observable(name)]));
  const callback: Parameters<Meter['addBatchObservableCallback']>[0] = async (result) => {
    for (const { name, value, attributes } of await read()) result.observe(observables.get(name)!, value, attributes);
  };
  const all = [...observables.values()];
  const owner = meter();
  owner.addBatchObservableCallback(callback, all);
  return () => owner.removeBatchObservableCallback(callback, all);
}

function observable(name: MetricName<'counter' | 'gauge' | 'level'>): Observable {
  const { kind, unit } = registry[name];
  if (kind === 'counter') return meter().createObservableCounter(name, { unit });
  if (kind === 'level') return meter().createObservableUpDownCounter(name, { unit });
  return meter().createObservableGauge(name, { unit });
}
