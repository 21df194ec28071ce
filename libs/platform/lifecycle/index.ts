export { allocatorSettings } from './allocator.ts';
export { logCrashes } from './crashLog.ts';
export { probe } from './probe.ts';
export { untilStopped } from './untilStopped.ts';
