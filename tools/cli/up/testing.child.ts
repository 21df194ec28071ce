// A process for supervise.spec.ts: it prints its pid and behaves as BEHAVIOUR says.
import { startHealth } from '@pairwise/rpc';
import { untilStopped } from '@pairwise/lifecycle';

const behaviour = process.env['BEHAVIOUR'];
console.log(JSON.stringify({ level: 'info', msg: 'began', process: process.pid }));
if (behaviour === 'dies') {
  console.error('broken on purpose');
  process.exit(7);
}
let lives = true;
const health = await startHealth({ healthAddress: process.env['HEALTH'], isAlive: () => lives });
process.on('SIGUSR2', () => {
  for (;;);
});
process.on('SIGHUP', () => {
  lives = false;
});
const alive = setInterval(() => undefined, 1000);
await untilStopped();
if (behaviour !== 'stubborn') {
  console.log('stopped gracefully');
  clearInterval(alive);
  health.stop();
}
