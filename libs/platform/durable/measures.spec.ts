import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { registry, startTelemetry } from '@pairwise/telemetry';
import { type CollectedPoint, startCollector } from '@pairwise/telemetry/testing';
import { expect, test } from 'vitest';
import { startDurable } from './index.ts';
import { plan, quiet } from './testing.plan.ts';

test('depth and age of queues, and expired leases, are exported as the registry describes them', async () => {
  const collector = await startCollector();
  Object.assign(process.env, collector.environment);
  const telemetry = await startTelemetry('test');
  const { url } = await testDatabase();
  const durable = await startDurable({ url, schema: 'test', log: quiet, leaseMs: 100 });
  const database = openDatabase({ url, schema: 'test_durable' });

  /** Waits for the next exported point of a metric whose attributes include these. */
  async function next(name: keyof typeof registry, attributes: Record<string, string>): Promise<CollectedPoint> {
    const wanted = Object.entries({ 'pairwise.service': 'test', ...attributes });
    const seen = collector.points.length;
    for (;;) {
      await sleep(50);
      const fresh = collector.points.slice(seen).filter((point) => point.name === name);
      const found = fresh.find((point) => wanted.every(([key, value]) => point.attributes[key] === value));
      if (found === undefined) continue;
      expect(registry[name]).toMatchObject({ kind: found.kind, unit: found.unit });
      expect(Object.keys(found.attributes).sort()).toEqual([...registry[name].attributes].sort());
      return found;
    }
  }
  const depth = async (state: string) =>
    (await next('pairwise.queue.depth', { 'messaging.destination.name': plan.queue, 'pairwise.work.state': state }))
      .value;

  await durable.enqueue(plan, 'a', { steps: 1, ms: 5000 });
  expect(await depth('waiting')).toBe(1);
  expect((await next('pairwise.queue.oldest.age', {})).value).toBeGreaterThan(0);
  await database.run("insert into executors (id, beat_time) values ('gone', now() - interval '1 hour')");
  durable.execute(plan, async ({ steps, ms }, { activity }) => {
    await activity('wait', (signal) => sleep(ms, undefined, { signal }));
    return steps;
  });
  await durable.launch({ [plan.queue]: 1 });
  expect((await next('pairwise.lease.expiries', {})).value).toBe(1);
  while ((await depth('running')) !== 1);
  await durable.result(plan, 'a');
  // An empty queue is reported too.
  expect([await depth('waiting'), await depth('running')]).toEqual([0, 0]);
  expect((await next('pairwise.queue.oldest.age', {})).value).toBe(0);

  await durable.stop();
  await database.close();
  await telemetry.stop();
  await collector.stop();
});
