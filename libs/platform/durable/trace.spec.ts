import { testDatabase } from '@pairwise/database/testing';
import { startTelemetry, withRun, withSpan } from '@pairwise/telemetry';
import { startCollector } from '@pairwise/telemetry/testing';
import { expect, test } from 'vitest';
import { startDurable } from './index.ts';
import { plan, quiet } from './testing.plan.ts';

test('work belongs to the trace and the run of whoever enqueued it', async () => {
  const collector = await startCollector();
  Object.assign(process.env, collector.environment);
  const telemetry = await startTelemetry('test');
  const { url } = await testDatabase();
  const durable = await startDurable({ url, schema: 'test', log: quiet });
  durable.execute(plan, async ({ steps }, { activity }) => {
    for (let index = 0; index < steps; index += 1)
      await activity('count', () => withSpan('inside', {}, () => Promise.resolve()));
    return steps;
  });
  await durable.launch({ [plan.queue]: 1 });
  await withSpan('command', {}, () => withRun('runs/a', () => durable.enqueue(plan, 'a', { steps: 2, ms: 0 })));
  await durable.result(plan, 'a');
  await durable.stop();
  await telemetry.stop();
  await collector.stop();

  const named = (name: string) => collector.spans.filter((span) => span.name === name);
  const [[command], [send], [taken]] = [named('command'), named('send counting'), named('process counting')];
  expect(new Set(collector.spans.map(({ traceId }) => traceId))).toEqual(new Set([command?.traceId]));
  expect(send).toMatchObject({ kind: 4, parentSpanId: command?.spanId });
  expect(taken).toMatchObject({ kind: 5, parentSpanId: send?.spanId, links: [{ spanId: send?.spanId }] });
  const counted = named('count count');
  expect(counted.map(({ parentSpanId }) => parentSpanId)).toEqual([taken?.spanId, taken?.spanId]);
  expect(named('inside').map(({ parentSpanId }) => parentSpanId)).toEqual(counted.map(({ spanId }) => spanId));
  for (const span of [send, taken, ...counted]) expect(span?.attributes['pairwise.run.id']).toBe('runs/a');
});
