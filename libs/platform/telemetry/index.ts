export { count, observe, record, type Observation } from './instruments.ts';
export { registry, type MetricAttributes, type MetricName } from './metrics.ts';
export { attributes, spanNames } from './names.ts';
export { activeRun, withRun, withSpan } from './span.ts';
export { startTelemetry, type Telemetry } from './start.ts';
export type { Log } from './log.ts';
