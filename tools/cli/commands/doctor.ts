import { PairwiseError } from '@pairwise/errors';
import { Command } from 'commander';
import { type Context, action } from '../context.ts';
import { type Check, clockCheck, fail } from '../doctor/check.ts';
import { processChecks } from '../doctor/processes.ts';
import { serviceChecks } from '../doctor/services.ts';
import { exitCodes } from '../exit.ts';
import { paint, say, sayJson, table } from '../output.ts';

/** The orchestrator gives the others 10 s. */
const patienceMs = 15_000;

const doctorHelp = `
It asks every service at the one address, and the services for what they depend on: database, blob store, clocks,
versions, queues and the workers on them. With DATABASE_URL or PAIRWISE_BLOB_URL it looks at these from here as well. Both
sides write a blob of 32 bytes and delete it. A worker that died counts for up to half a minute.

The exit code is 1 if anything failed; what is to be had better (warn) is no failure.

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
  const fromHere = await localChecks();
  tell(fromHere, json);
  const checks = (await Promise.all([serviceChecks(services, project), diagnose(services)])).flat();
  tell(checks, json);
  return [...fromHere, ...checks].some(({ state }) => state === 'fail') ? exitCodes.failed : exitCodes.succeeded;
}

async function localChecks(): Promise<Check[]> {
  // Database and store take a while to load, and no other command needs them.
  const { localChecks: look } = await import('../doctor/local.ts');
  return look(process.env);
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
    const remedy = 'see whether the orchestrator runs and is of this version, and its log';
    return [fail('DiagnosticsService', error.message, remedy)];
  }
}

/** By how many milliseconds a clock that was read during a call, which began at `began`, is ahead of ours at least. */
function leastAhead(time: number, began: number): number {
  if (time < began) return time - began;
  return Math.max(0, time - Date.now());
}

const colours = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

function tell(checks: readonly Check[], json: boolean): void {
  if (json) checks.forEach(sayJson);
  else if (checks.length > 0) {
    const rows = checks.map(({ check, state, finding, remedy }) => [
      paint(colours[state], state),
      check,
      remedy === '' ? finding : `${finding}\n→ ${remedy}`,
    ]);
    say(table(['STATE', 'CHECK', 'FINDING'], rows));
  }
}
