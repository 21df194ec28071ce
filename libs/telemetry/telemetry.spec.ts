import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { type Collector, startCollector } from './testing.ts';

let collector: Collector | undefined;
afterEach(async () => {
  await collector?.stop();
  collector = undefined;
});

/** The lines that the process writes. */
async function lines(environment: Record<string, string>) {
  const { stdout } = await promisify(execFile)(process.execPath, [join(import.meta.dirname, 'testing.process.ts')], {
    env: { ...process.env, ...environment },
  });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>);
}

test('lines carry service, trace and run, and nothing is sent unless it is asked for', async () => {
  const [first, second, third] = await lines({});
  expect(first).toMatchObject({ level: 'info', service: 'test', msg: 'outside', size: 3 });
  expect(first).not.toHaveProperty('trace_id');
  expect(second).toMatchObject({ msg: 'inside', 'pairwise.run.id': 'projects/default/runs/a' });
  expect(second?.['trace_id']).toMatch(/^[0-9a-f]{32}$/);
  expect(third).toMatchObject({ msg: 'carrier' });
  expect(third?.['traceparent']).toContain(second?.['trace_id']);
  expect(third?.['baggage']).toContain('pairwise.run.id=');
});

test('spans arrive at the collector, with parents, run and error', async () => {
  collector = await startCollector();
  const [, second] = await lines(collector.environment);
  const [inner, outer] = collector.spans;
  expect(collector.spans).toHaveLength(2);
  expect(outer).toMatchObject({ service: 'test', name: 'outer', parentSpanId: '', traceId: second?.['trace_id'] });
  expect(inner).toMatchObject({
    name: 'inner',
    parentSpanId: outer?.spanId,
    traceId: outer?.traceId,
    attributes: { 'pairwise.run.id': 'projects/default/runs/a', 'error.type': 'NOT_FOUND', step: '7' },
  });
});

test('a collector that is away does not keep the process from ending', async () => {
  const written = await lines({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' });
  expect(written.map(({ msg }) => msg)).toContain('outside');
});
