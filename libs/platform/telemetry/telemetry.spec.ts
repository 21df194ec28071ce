import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { type MetricName, registry } from './index.ts';
import { type Collector, startCollector } from './testing.ts';

let collector: Collector | undefined;
afterEach(async () => {
  await collector?.stop();
  collector = undefined;
});

/** Returns the lines that the process writes. */
async function lines(environment: Record<string, string>, ...parameters: string[]) {
  const program = join(import.meta.dirname, 'testing.process.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...parameters], {
    env: { ...process.env, ...environment },
  });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>);
}

test('lines carry the service, trace and run, and nothing is sent by default', async () => {
  const [first, second, third] = await lines({});
  expect(first).toMatchObject({ level: 'info', service: 'test', msg: 'outside', size: 3 });
  expect(first).not.toHaveProperty('trace_id');
  expect(second).toMatchObject({ msg: 'inside', 'pairwise.run.id': 'projects/default/runs/a' });
  expect(second?.['trace_id']).toMatch(/^[0-9a-f]{32}$/);
  expect(third).toMatchObject({ msg: 'carrier' });
  expect(third?.['traceparent']).toContain(second?.['trace_id']);
  expect(third?.['baggage']).toContain('pairwise.run.id=');
});

test('a process ends as usual if nobody reads its output', async () => {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'testing.process.ts')], { stdio: 'pipe' });
  child.stdout.destroy();
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('spans arrive at the collector with their parent, run and error', async () => {
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

test('metrics arrive as the registry describes them, without other attributes', async () => {
  collector = await startCollector();
  await lines(collector.environment, 'metrics');
  const { points } = collector;
  for (const { name, kind, unit, description } of points) {
    expect({ kind, unit, description }).toEqual(expect.objectContaining(known(name)));
  }
  const last = (name: string) => points.findLast((point) => point.name === name);
  expect(last('pairwise.tokens')).toMatchObject({ service: 'test', value: 42 });
  expect(last('pairwise.reference.shard.duration')).toMatchObject({ value: 1, attributes: {} });
  expect(last('process.memory.usage')!.value).toBeGreaterThan(1e7);
  expect(
    points.filter(({ name }) => name === 'process.cpu.time').map(({ attributes }) => attributes['cpu.mode']),
  ).toEqual(expect.arrayContaining(['user', 'system']));
});

/** The kind and unit of a metric according to the registry. */
function known(name: string) {
  const { kind, unit, description } = registry[name as MetricName];
  return { kind, unit, description };
}

test('a gauge ends when it is no longer recorded; a counter does not', async () => {
  collector = await startCollector();
  await lines(collector.environment, 'metrics');
  const of = (name: string) => collector!.points.filter((point) => point.name === name);
  expect(of('pairwise.training.loss')).toHaveLength(1);
  expect(of('pairwise.tokens').length).toBeGreaterThan(1);
  const states = of('pairwise.runs').map(({ attributes }) => attributes['pairwise.run.state']);
  expect(states.slice(states.indexOf('SUCCEEDED'))).not.toContain('RUNNING');
  expect(states[0]).toBe('RUNNING');
});

test('log lines arrive with their trace, run and severity', async () => {
  collector = await startCollector();
  const [, second] = await lines(collector.environment);
  const sent = (body: string) => collector!.lines.find((line) => line.body === body);
  expect(sent('outside')).toMatchObject({ service: 'test', severity: 'info', traceId: '', attributes: { size: '3' } });
  expect(sent('inside')).toMatchObject({
    traceId: second?.['trace_id'],
    spanId: second?.['span_id'],
    attributes: { 'pairwise.run.id': 'projects/default/runs/a' },
  });
});

test('a process ends even if its collector is down', async () => {
  const written = await lines({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' });
  expect(written.map(({ msg }) => msg)).toContain('outside');
});
