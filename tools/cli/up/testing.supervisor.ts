// A supervisor that supervise.spec.ts kills; its child must end too.
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
// As a string, because console.log may colour numbers.
console.log(String(one.pid()));
