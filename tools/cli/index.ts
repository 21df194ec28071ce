export { startPlatform, type Platform, type PlatformOptions } from './up/platform.ts';
export type { LogLine } from './up/lines.ts';
export type { ProcessName } from './up/processes.ts';
