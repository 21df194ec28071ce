import { trace } from '@opentelemetry/api';
import { callers } from '@pairwise/config';
import { migrate, openDatabase } from '@pairwise/database';
import { startDurable } from '@pairwise/durable';
import { clientSecurity, diagnosticsService, serverAccess, startServer } from '@pairwise/rpc';
import { logCrashes, probe, untilStopped } from '@pairwise/lifecycle';
import { startTelemetry, withRun } from '@pairwise/telemetry';
import { engineVersion } from '@pairwise/training';
import { readConfig } from './config.ts';
import { observeRuns } from './measures.ts';
import { migrations } from './migrations.ts';
import { openDiagnostics, openPeers } from './peers.ts';
import { openRuns } from './runs.ts';
import { serverVersion } from './serverInfo.ts';
import { orchestratorService } from './service.ts';
import { patienceMs } from './stages/context.ts';
import { driveRun, runWork, runWorkId } from './workflow.ts';

logCrashes('orchestrator');
const { log, stop: stopTelemetry } = await startTelemetry('orchestrator');
const config = readConfig(process.env, probe);
const database = openDatabase({ url: config.DATABASE_URL, schema: 'orchestrator' });
await migrate(database, migrations);
const durable = await startDurable({ url: config.DATABASE_URL, schema: database.schema, log });
const runs = openRuns(database, (name, { type, message, warning }) => {
  withRun(name, () => {
    log[type === 'run.failed' || warning === true ? 'warn' : 'info']({}, message);
  });
});
const security = clientSecurity(config, log);
const peers = openPeers(config, security);
durable.execute(runWork, ({ name }, attempt) => driveRun({ runs, peers, patienceMs }, name, attempt));
// A run mostly waits for its peers, so one process drives many.
await durable.launch({ [runWork.queue]: 100 }, { version: serverVersion, engineVersion });
const unobserve = observeRuns(database);

const server = await startServer({
  ...serverAccess(config, callers.orchestrator),
  isAlive: () => durable.isAlive(),
  log,
  services: [
    orchestratorService({
      database,
      runs,
      peers,
      // Puts the run's name on every span and log line of every process that works on it.
      enqueue: (run, tx) => withRun(run.name, () => durable.enqueue(runWork, runWorkId(run), { name: run.name }, tx)),
      cancel: (run, tx) => durable.cancel(runWorkId(run), tx),
      traceId: () => trace.getActiveSpan()?.spanContext().traceId ?? '',
    }),
    diagnosticsService({
      process: 'orchestrator',
      version: serverVersion,
      engineVersion,
      database,
      queues: () => durable.queues(),
      peers: openDiagnostics(config, security),
      log,
    }),
  ],
});
log.info({ address: server.address }, 'the orchestrator is serving');

await untilStopped();
unobserve();
await server.drain();
await durable.stop();
await database.close();
await stopTelemetry();
