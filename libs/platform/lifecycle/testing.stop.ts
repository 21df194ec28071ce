// A process for untilStopped.spec.ts that waits until it is stopped. With the argument `hang`, it does not end by
// itself even then.
import { setTimeout as sleep } from 'node:timers/promises';
import { untilStopped } from './index.ts';

const stopped = untilStopped();
const alive = setInterval(() => undefined, 1000);
await stopped;
clearInterval(alive);
process.stdout.write('stopping\n');
if (process.argv[2] === 'hang') await sleep(60_000);
