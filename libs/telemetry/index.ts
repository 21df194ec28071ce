export { attributes, spanNames } from './names.ts';
export { withRun, withSpan } from './span.ts';
export { startTelemetry, type Telemetry } from './start.ts';
export { untilStopped } from './stop.ts';
export type { Log } from './log.ts';
