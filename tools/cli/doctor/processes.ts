import type { ProcessReport, QueueReport } from '@pairwise/api';
import { type Check, clockCheck, fail, ok, warn } from './check.ts';

/** Judges what the processes told of themselves. */
export function processChecks(reports: readonly ProcessReport[]): Check[] {
  const told = reports.filter(({ error }) => error === undefined);
  return [
    ...reports.flatMap(({ process, error }) =>
      error === undefined
        ? []
        : [fail(process, error.message, 'see whether the process runs and is of this version, and its log')],
    ),
    versionCheck(told),
    engineCheck(told),
    ...told.flatMap((report) => [...databaseChecks(report), ...storeChecks(report)]),
    ...told.flatMap(queueChecks),
  ];
}

/** A value of every process and worker that has one, each with who has it: `0.1.0 (dataset, export)`. */
function spread(reports: readonly ProcessReport[], key: 'version' | 'engineVersion'): string[] {
  const holders = new Map<string, Set<string>>();
  const add = (value: string, holder: string) => {
    if (value !== '') holders.set(value, (holders.get(value) ?? new Set()).add(holder));
  };
  for (const report of reports) {
    add(report[key], report.process);
    // Others than the process itself.
    for (const worker of report.queues.flatMap(({ workers }) => workers)) {
      if (worker.device !== '') add(worker[key], `${report.process}-worker`);
    }
  }
  return holders.size === 1
    ? [...holders.keys()]
    : [...holders].map(([value, who]) => `${value} (${[...who].join(', ')})`);
}

function versionCheck(reports: readonly ProcessReport[]): Check {
  const found = spread(reports, 'version');
  if (found.length <= 1) return ok('versions', found.join());
  return warn('versions', found.join('; '), 'bring all processes to one version; while an upgrade is under way, wait');
}

function engineCheck(reports: readonly ProcessReport[]): Check {
  const found = spread(reports, 'engineVersion');
  if (found.length <= 1) return ok('engine versions', found.join());
  const remedy = 'bring all processes to one version: reference logps of one engine are of no use to another';
  return fail('engine versions', found.join('; '), remedy);
}

function databaseChecks({ process, database }: ProcessReport): Check[] {
  const check = `${process}: database`;
  if (database?.time === undefined || database.processTime === undefined) {
    const finding = database?.error?.message ?? 'it told nothing';
    return [fail(check, finding, 'see whether Postgres runs; correct DATABASE_URL of the process')];
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
  const remedy = 'see PAIRWISE_BLOB_URL of the process, and whether it may write there';
  return [fail(check, store.error.message, remedy)];
}

function queueChecks(report: ProcessReport): Check[] {
  if (report.queuesError !== undefined) {
    return [fail(`${report.process}: queues`, report.queuesError.message, 'see whether Postgres runs')];
  }
  return report.queues.map((queue) => queueCheck(report, queue));
}

function queueCheck({ process, numericsProfile }: ProcessReport, queue: QueueReport): Check {
  const check = `${process}: queue ${queue.name}`;
  const { workers, waitingCount, runningCount } = queue;
  const profiles = [...new Set(workers.map((worker) => worker.numericsProfile).filter((profile) => profile !== ''))];
  const devices = [...new Set(workers.map(({ device }) => device).filter((device) => device !== ''))];
  const kinds = profiles.length === 0 ? '' : ` on ${devices.join(', ')}, ${profiles.join(', ')}`;
  const counted = `${workers.length} ${workers.length === 1 ? 'worker' : 'workers'}${kinds}`;
  const finding = `${counted}; ${waitingCount} waiting, ${runningCount} running`;
  const other = profiles.filter((profile) => profile !== numericsProfile);
  if (numericsProfile !== '' && other.length > 0) {
    const remedy = `give workers and service the same PAIRWISE_DEVICE and version: the service asks for ${numericsProfile}`;
    return fail(check, finding, remedy);
  }
  if (workers.length > 0) return ok(check, finding);
  if (waitingCount > 0) return fail(check, finding, 'start a worker, or see why the autoscaler starts none');
  return warn(check, finding, 'start a worker, unless an autoscaler does so when there is work');
}
