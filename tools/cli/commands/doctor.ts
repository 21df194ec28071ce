import { PairwiseError } from '@pairwise/errors';
import { Command } from 'commander';
import { type Context, action } from '../context.ts';
import { type Check, clockCheck, fail } from '../doctor/check.ts';
import { processChecks } from '../doctor/processes.ts';
import { serviceChecks } from '../doctor/services.ts';
import { exitCodes } from '../exit.ts';
import { paint, say, sayJson, formatTable } from '../output.ts';

/** The orchestrator gives each of the other services 10 s. */
const patienceMs = 15_000;

const doctorHelp = `
Calls every service, and has the services check what they depend on: database, blob store, clocks, versions, queues and
their workers. If DATABASE_URL or PAIRWISE_BLOB_URL is set, it checks those from this machine too. Each store check writes
a blob of 32 bytes and deletes it. A dead worker is still counted for up to 30 seconds.

The exit code is 1 if any check failed; warnings do not count.

Examples:
  $ pairwise doctor --address pairwise.example.com:443 --tls
  $ pairwise doctor --json | jq 'select(.state != "ok")'`;

/** `pairwise doctor`. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check a deployment: services, versions, database, blob store, clocks, workers')
    .addHelpText('after', doctorHelp)
    .action(action(doctor));
}

async function doctor({ services, project, json }: Context): Promise<number> {
  const local = await localChecks();
  printChecks(local, json);
  const checks = (await Promise.all([serviceChecks(services, project), diagnose(services)])).flat();
  printChecks(checks, json);
  return [...local, ...checks].some(({ state }) => state === 'fail') ? exitCodes.failed : exitCodes.succeeded;
}

async function localChecks(): Promise<Check[]> {
  // Loaded here because the database and store libraries are slow to load, and no other command needs them.
  const { localChecks: check } = await import('../doctor/local.ts');
  return check(process.env);
}

async function diagnose({ diagnostics }: Context['services']): Promise<Check[]> {
  const began = Date.now();
  try {
    const { processes } = await diagnostics.diagnose({}, { deadline: new Date(began + patienceMs) });
    const { time } = processes[0]!;
    return [
      ...processChecks(processes),
      clockCheck('clock here', -leastAhead(time!.getTime(), began), "the platform's"),
    ];
  } catch (error) {
    if (!(error instanceof PairwiseError)) throw error;
    const remedy = 'check that the orchestrator is running and has the same version as this command; see its log';
    return [fail('DiagnosticsService', error.message, remedy)];
  }
}

/** A lower bound in milliseconds on how far a remote clock, read during a call that began at `began`, is ahead of ours. */
function leastAhead(time: number, began: number): number {
  if (time < began) return time - began;
  return Math.max(0, time - Date.now());
}

const colours = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

function printChecks(checks: readonly Check[], json: boolean): void {
  if (json) checks.forEach(sayJson);
  else if (checks.length > 0) {
    const rows = checks.map(({ check, state, finding, remedy }) => [
      paint(colours[state], state),
      check,
      remedy === '' ? finding : `${finding}\n→ ${remedy}`,
    ]);
    say(formatTable(['STATE', 'CHECK', 'FINDING'], rows));
  }
}
