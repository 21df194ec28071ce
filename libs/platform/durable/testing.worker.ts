// A process for crash.spec.ts that executes work until it is killed, or stopped by SIGTERM. It reports the start of
// every step to its parent, and writes the end of every step to the table `ends`, with a fence. A step that is stopped
// takes half a second to end.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Attempt, Declined, startDurable } from './index.ts';
import { type Plan, plan, quiet, saved } from './testing.plan.ts';

const [url, leaseMs, size] = process.argv.slice(2) as [string, string, 'small' | 'large'];
const durable = await startDurable({ url, schema: 'test', log: quiet, leaseMs: Number(leaseMs) });

async function end(attempt: Attempt, step: number): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const rows = async <Row extends object>(sql: string, parameters: readonly unknown[] = []) =>
    (await client.query<Row>(sql, [...parameters])).rows;
  try {
    await client.query('begin');
    await attempt.fence({ rows });
    await client.query('insert into test.ends (work, step) values ($1, $2)', [attempt.id, step]);
    await client.query('commit');
  } finally {
    await client.end();
  }
}

durable.execute(plan, async ({ steps, ms, isLarge = false }: Plan, attempt) => {
  for (let index = 0; index < steps; index += 1) {
    await attempt.activity('count', async (signal) => {
      if (isLarge && size === 'small') throw new Declined('it is too large');
      process.send!({ begun: index, pid: process.pid });
      try {
        await sleep(ms, undefined, { signal });
      } catch (error) {
        await sleep(500);
        await end(attempt, saved);
        throw error;
      }
      await end(attempt, index);
    });
  }
  return steps;
});
// As a training worker has one slot, which work that it declines must not keep permanently.
await durable.launch({ counting: size === 'small' ? 1 : 2 });
process.send!({ ready: true });

process.once('SIGTERM', () => {
  void durable.stop().then(() => process.exit(0));
});
process.on('message', ({ blockMs }: { blockMs: number }) => {
  const until = Date.now() + blockMs;
  while (Date.now() < until);
});
