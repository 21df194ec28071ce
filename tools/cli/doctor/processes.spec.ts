import { ProcessReport, WorkerReport } from '@pairwise/api';
import { statusOf } from '@pairwise/rpc';
import { PairwiseError } from '@pairwise/errors';
import { expect, test } from 'vitest';
import { clockCheck } from './check.ts';
import { processChecks } from './processes.ts';

const noon = Date.parse('2026-01-01T12:00:00Z');
const worker = (about: Partial<WorkerReport> = {}) =>
  WorkerReport.create({ id: 'w', version: '2', engineVersion: '7', device: 'cpu', numericsProfile: 'a', ...about });

/** The report of a healthy process, with the given changes. */
function report(process: string, parts: Partial<ProcessReport> = {}): ProcessReport {
  const time = new Date(noon);
  const database = { version: '17', time, processTime: time, error: undefined };
  return ProcessReport.create({ process, version: '2', engineVersion: '7', time, database, ...parts });
}
const queue = (workers: WorkerReport[], waitingCount = 0) => [{ name: 'q', waitingCount, runningCount: 0, workers }];

/** State, finding and remedy of one check. */
function judged(check: string, ...reports: ProcessReport[]) {
  const found = processChecks(reports).filter((each) => each.check === check);
  expect(found).toHaveLength(1);
  const { state, finding, remedy } = found[0]!;
  expect(remedy === '').toBe(state === 'ok');
  return [state, finding];
}

test('versions: several are a warning that names the processes; several engine versions are a failure', () => {
  const same = [report('dataset', { engineVersion: '' }), report('training', { queues: queue([worker()]) })];
  expect(judged('versions', ...same)).toEqual(['ok', '2']);
  expect(judged('engine versions', ...same)).toEqual(['ok', '7']);
  const old = [report('dataset', { version: '1', engineVersion: '' }), report('training')];
  expect(judged('versions', ...old)).toEqual(['warn', '1 (dataset); 2 (training)']);
  const oldWorker = report('training', { queues: queue([worker({ engineVersion: '6' })]) });
  expect(judged('engine versions', oldWorker)).toEqual(['fail', '7 (training); 6 (training-worker)']);
});

test('queues: a worker with another profile is a failure, and so is waiting work without a worker', () => {
  const of = (workers: WorkerReport[], waiting = 0) =>
    judged('training: queue q', report('training', { numericsProfile: 'a', queues: queue(workers, waiting) }))[0];
  expect(of([worker(), worker()], 3)).toBe('ok');
  expect(of([worker(), worker({ device: 'cuda:0', numericsProfile: 'b' })])).toBe('fail');
  expect(of([])).toBe('warn');
  expect(of([], 1)).toBe('fail');
  const workers = [worker({ memoryBytes: 16_000_000_000n }), worker({ memoryBytes: 16_000_000_000n }), worker()];
  expect(judged('training: queue q', report('training', { queues: queue(workers) }))).toEqual([
    'ok',
    '3 workers on cpu with 16.0 GB, cpu, a; 0 waiting, 0 running',
  ]);
});

test('a process without a report and an unreachable database are failures with their own messages', () => {
  const error = statusOf(new PairwiseError('UNAVAILABLE', 'not reachable'));
  const away = ProcessReport.create({ process: 'export', error });
  expect(judged('export', report('dataset'), away)).toEqual(['fail', 'not reachable']);
  const database = { version: '', time: undefined, processTime: undefined, error };
  expect(judged('dataset: database', report('dataset', { database }))).toEqual(['fail', 'not reachable']);
  expect(judged('dataset: queues', report('dataset', { queuesError: error }))).toEqual(['fail', 'not reachable']);
  expect(judged('dataset: blob store', report('dataset', { store: { error } }))).toEqual(['fail', 'not reachable']);
});

test('a clock check says which clock is ahead', () => {
  const states = [0, 1999, -1999, 2000, -59_999, 60_000, -60_000].map((ms) => clockCheck('c', ms, 'x').state);
  expect(states).toEqual(['ok', 'ok', 'ok', 'warn', 'warn', 'fail', 'fail']);
  expect(clockCheck('c', -3000, "the database's").finding).toBe("3.0 s behind the database's");
  const database = { version: '17', time: new Date(noon), processTime: new Date(noon + 5000), error: undefined };
  expect(judged('dataset: clock', report('dataset', { database }))).toEqual(['warn', "5.0 s ahead of the database's"]);
});
