// A supervisor for supervise.spec.ts, which is killed there; its child must not outlive it.
import { supervise } from './supervise.ts';

const one = supervise({
  name: 'one',
  program: new URL('testing.child.ts', import.meta.url),
  environment: process.env,
  check: () => Promise.resolve(),
  liveness: () => ({ lives: () => Promise.resolve(true), close: () => undefined }),
  log: () => undefined,
});
await one.ready;
// As text, because a number may be printed in colour.
console.log(String(one.pid()));
