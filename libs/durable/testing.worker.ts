// A process for durable.spec.ts that executes work until it is killed, or told to stop by SIGTERM. It tells its parent
// of every step's beginning, and writes every step's end into the table `ends`, behind the fence.
import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabase } from '@pairwise/database';
import { startDurable } from './index.ts';
import { type Plan, plan, quiet } from './testing.plan.ts';

const url = process.argv[2]!;
const database = openDatabase({ url, schema: 'test' });
const durable = await startDurable({ url, schema: 'test', log: quiet, leaseMs: 500 });

durable.execute(plan, async ({ steps, ms }: Plan, attempt) => {
  for (let index = 0; index < steps; index += 1) {
    await attempt.step('count', async () => {
      process.send!({ begun: index, pid: process.pid });
      await sleep(ms);
      await database.transaction(async (tx) => {
        await attempt.fence(tx);
        await tx.run('insert into ends (work, step) values ($1, $2)', [attempt.id, index]);
      });
    });
  }
  return steps;
});
await durable.launch({ counting: 2 });
process.send!({ ready: true });

process.once('SIGTERM', () => {
  void durable.stop().then(() => process.exit(0));
});
process.on('message', ({ blockMs }: { blockMs: number }) => {
  const until = Date.now() + blockMs;
  while (Date.now() < until);
});
