import type { ProcessReport, QueueReport, WorkerReport } from '@pairwise/api';
import { formatBytes } from '../output.ts';
import { type Check, clockCheck, fail, ok, warn } from './check.ts';

/** Checks of what the processes reported about themselves. */
export function processChecks(reports: readonly ProcessReport[]): Check[] {
  const answered = reports.filter(({ error }) => error === undefined);
  return [
    ...reports.flatMap(({ process, error }) =>
      error === undefined
        ? []
        : [
            fail(
              process,
              error.message,
              'check that the process is running and has the same version as this command; see its log',
            ),
          ],
    ),
    versionCheck(answered),
    engineCheck(answered),
    ...answered.flatMap((report) => [...databaseChecks(report), ...storeChecks(report)]),
    ...answered.flatMap(queueChecks),
  ];
}

/** The distinct values among processes and workers, each with those that have it: `0.1.0 (dataset, export)`. */
function distinct(reports: readonly ProcessReport[], key: 'version' | 'engineVersion'): string[] {
  const holders = new Map<string, Set<string>>();
  const add = (value: string, holder: string) => {
    if (value !== '') holders.set(value, (holders.get(value) ?? new Set()).add(holder));
  };
  for (const report of reports) {
    add(report[key], report.process);
    // A worker with a device is a process of its own; the others are the process itself.
    for (const worker of report.queues.flatMap(({ workers }) => workers)) {
      if (worker.device !== '') add(worker[key], `${report.process}-worker`);
    }
  }
  return holders.size === 1
    ? [...holders.keys()]
    : [...holders].map(([value, who]) => `${value} (${[...who].join(', ')})`);
}

function versionCheck(reports: readonly ProcessReport[]): Check {
  const found = distinct(reports, 'version');
  if (found.length <= 1) return ok('versions', found.join());
  return warn(
    'versions',
    found.join('; '),
    'deploy one version of all processes; during an upgrade, wait until it is complete',
  );
}

function engineCheck(reports: readonly ProcessReport[]): Check {
  const found = distinct(reports, 'engineVersion');
  if (found.length <= 1) return ok('engine versions', found.join());
  const remedy = 'deploy one version of all processes: reference logps of one engine version are useless to another';
  return fail('engine versions', found.join('; '), remedy);
}

function databaseChecks({ process, database }: ProcessReport): Check[] {
  const check = `${process}: database`;
  if (database?.time === undefined || database.processTime === undefined) {
    const finding = database?.error?.message ?? 'no report';
    return [fail(check, finding, 'check that Postgres is running; correct DATABASE_URL of the process')];
  }
  return [
    ok(check, `Postgres ${database.version}`),
    clockCheck(`${process}: clock`, database.processTime.getTime() - database.time.getTime(), "the database's"),
  ];
}

function storeChecks({ process, store }: ProcessReport): Check[] {
  if (store === undefined) return [];
  const check = `${process}: blob store`;
  if (store.error === undefined) return [ok(check, 'writes, reads and deletes')];
  const remedy = 'correct PAIRWISE_BLOB_URL of the process, and check that it may write there';
  return [fail(check, store.error.message, remedy)];
}

function queueChecks(report: ProcessReport): Check[] {
  if (report.queuesError !== undefined) {
    return [fail(`${report.process}: queues`, report.queuesError.message, 'check that Postgres is running')];
  }
  return report.queues.map((queue) => queueCheck(report, queue));
}

/** The device of a worker with its memory, if that is known. */
function deviceOf({ device, memoryBytes }: WorkerReport): string {
  return memoryBytes === 0n ? device : `${device} with ${formatBytes(memoryBytes)}`;
}

function queueCheck({ process, numericsProfile }: ProcessReport, queue: QueueReport): Check {
  const check = `${process}: queue ${queue.name}`;
  const { workers, waitingCount, runningCount } = queue;
  const profiles = [...new Set(workers.map((worker) => worker.numericsProfile).filter((profile) => profile !== ''))];
  const devices = [...new Set(workers.filter(({ device }) => device !== '').map(deviceOf))];
  const kinds = profiles.length === 0 ? '' : ` on ${devices.join(', ')}, ${profiles.join(', ')}`;
  const counted = `${workers.length} ${workers.length === 1 ? 'worker' : 'workers'}${kinds}`;
  const finding = `${counted}; ${waitingCount} waiting, ${runningCount} running`;
  const other = profiles.filter((profile) => profile !== numericsProfile);
  if (numericsProfile !== '' && other.length > 0) {
    const remedy = `give the service and its workers the same PAIRWISE_DEVICE and version: the service expects ${numericsProfile}`;
    return fail(check, finding, remedy);
  }
  if (workers.length > 0) return ok(check, finding);
  if (waitingCount > 0) return fail(check, finding, 'start a worker, or find out why the autoscaler starts none');
  return warn(check, finding, 'start a worker, unless an autoscaler starts one when there is work');
}
