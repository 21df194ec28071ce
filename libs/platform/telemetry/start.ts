import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Attributes,
  type Context,
  DiagLogLevel,
  type SpanKind,
  TraceFlags,
  diag,
  trace,
} from '@opentelemetry/api';
import {
  type ResourceDetector,
  osDetector,
  processDetector,
  resourceAttributesEnvDetector,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import {
  AggregationTemporality,
  InstrumentType,
  type MetricReader,
  createAllowListAttributesProcessor,
} from '@opentelemetry/sdk-metrics';
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import { sayLastWords } from './lastWords.ts';
import { type Log, openLog } from './log.ts';
import { registry } from './metrics.ts';
import { attributes } from './names.ts';
import { observeProcess } from './process.ts';
import { runOf } from './span.ts';

export interface Telemetry {
  log: Log;
  /** Sends what has not been sent yet; gives up after 3 s. */
  stop(): Promise<void>;
}

type Sampler = NonNullable<NodeSDKConfiguration['sampler']>;
type SpanProcessor = NonNullable<NodeSDKConfiguration['spanProcessors']>[number];

// Of SamplingDecision, an enum in a package that sdk-node does not pass on.
const drop = 0;
const recordAndSample = 2;

/**
 * Takes every trace whose parent was taken, since a run has few spans, and puts the run on each span: attributes that a
 * sampler returns are the span's.
 */
const sampler = {
  shouldSample: (parent: Context, _traceId: string, _name: string, _kind: SpanKind, _attributes: Attributes) => {
    const flags = trace.getSpanContext(parent)?.traceFlags ?? TraceFlags.SAMPLED;
    const run = runOf(parent);
    return {
      decision: (flags & TraceFlags.SAMPLED) === 0 ? drop : recordAndSample,
      attributes: run === undefined ? {} : { [attributes.run]: run },
    };
  },
  toString: () => 'parent, with run',
} as unknown as Sampler;

/** Makes real trace ids, which logs and peers need, though nothing is sent anywhere. */
const nowhere: SpanProcessor = {
  onStart: () => undefined,
  onEnd: () => undefined,
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

/** Of the host its name alone: a container has no `host.id`, of which OpenTelemetry's own detector warns each time. */
const hostDetector: ResourceDetector = { detect: () => ({ attributes: { 'host.name': hostname() } }) };

/** What the registry says of a metric holds wherever its instrument was made. */
const views = Object.entries(registry).map(([instrumentName, { description, attributes: allowed }]) => ({
  instrumentName,
  description,
  attributesProcessors: [createAllowListAttributesProcessor([...allowed])],
}));

/**
 * Has a gauge exported only where it was recorded or read since the last export. OpenTelemetry would repeat the last value
 * of each series as long as the process lives, and so those of runs that have ended; it has no option for this.
 */
function letGaugesEnd(sdk: NodeSDK): void {
  const { readers } = sdk['_meterProviderConfig'] as { readers: MetricReader[] };
  for (const reader of readers) {
    const temporality = reader.selectAggregationTemporality.bind(reader);
    const isGauge = (type: InstrumentType) => type === InstrumentType.GAUGE || type === InstrumentType.OBSERVABLE_GAUGE;
    reader.selectAggregationTemporality = (type) => (isGauge(type) ? AggregationTemporality.DELTA : temporality(type));
  }
}

/**
 * Starts OpenTelemetry and the log of a process; before anything else that uses them. Traces, metrics and log lines go
 * out by OTLP if OTEL_EXPORTER_OTLP_ENDPOINT is set (the other OTEL_* variables hold, e.g. OTEL_EXPORTER_OTLP_PROTOCOL,
 * default `http/protobuf`), and else nowhere; trace context is passed on in both cases. An error that nobody
 * catches ends the process with its message (see `sayLastWords`).
 */
export function startTelemetry(service: string): Telemetry {
  sayLastWords(service);
  const sends = (process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? '') !== '';
  const log = openLog(service, { sends });
  const told = (message: string) => log.warn(`OpenTelemetry: ${message}`);
  const silent = () => undefined;
  diag.setLogger({ error: told, warn: told, info: silent, debug: silent, verbose: silent }, DiagLogLevel.WARN);
  const sdk = new NodeSDK({
    serviceName: service,
    sampler,
    views,
    resourceDetectors: [
      serviceInstanceIdDetector,
      processDetector,
      hostDetector,
      osDetector,
      resourceAttributesEnvDetector,
    ],
    ...(sends ? {} : { spanProcessors: [nowhere], metricReaders: [], logRecordProcessors: [] }),
  });
  letGaugesEnd(sdk);
  sdk.start();
  observeProcess();
  return {
    log,
    stop: async () => {
      const failed = (error: unknown) =>
        log.warn({ err: error }, 'the last spans, metrics and lines could not be sent');
      await Promise.race([sdk.shutdown().catch(failed), sleep(3000, undefined, { ref: false })]);
    },
  };
}
