import { hostname } from 'node:os';
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
import { NodeSDK } from '@opentelemetry/sdk-node';
import { registry } from './metrics.ts';
import { observeProcess } from './process.ts';
import { sampler } from './sampler.ts';

/**
 * Detects only the host's name: a container has no `host.id`, and OpenTelemetry's own detector warns about that each
 * time.
 */
const hostDetector: ResourceDetector = { detect: () => ({ attributes: { 'host.name': hostname() } }) };

/** Applies the registry's descriptions and attributes to metrics, wherever their instruments were created. */
const views = Object.entries(registry).map(([instrumentName, { description, attributes: allowed }]) => ({
  instrumentName,
  description,
  attributesProcessors: [createAllowListAttributesProcessor([...allowed])],
}));

/**
 * Exports a gauge only if it was recorded or read since the last export. By default, OpenTelemetry repeats the last
 * value of each series as long as the process lives, even for runs that have ended, and it has no option to change
 * that.
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
 * Sends traces, metrics and log lines where the OTEL_* variables say. The returned function sends the rest and stops.
 */
export function startSending(service: string): () => Promise<void> {
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
  });
  letGaugesEnd(sdk);
  sdk.start();
  observeProcess();
  return () => sdk.shutdown();
}
