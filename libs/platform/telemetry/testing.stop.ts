// A process for stop.spec.ts that waits until it is stopped; told to, it does not end by itself then.
import { setTimeout as sleep } from 'node:timers/promises';
import { startTelemetry, untilStopped } from './index.ts';

const telemetry = await startTelemetry('test');
const stopped = untilStopped();
const alive = setInterval(() => undefined, 1000);
await stopped;
clearInterval(alive);
telemetry.log.info('stopping');
if (process.argv[2] === 'hang') await sleep(60_000);
await telemetry.stop();
