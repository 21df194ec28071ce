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

/** Sends traces, metrics and log lines where the OTEL_* variables say, until the returned function has sent the last. */
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
