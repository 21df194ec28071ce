import { type MetricPoint, type Run, RunState, WatchRunResponse } from '@pairwise/api';
import type { Context } from '../context.ts';
import { exitCodes, failureOf, printError } from '../exit.ts';
import { shortName } from '../names.ts';
import { formatSeconds, paint, say, sayJson } from '../output.ts';
import { followRun } from './follow.ts';
import { linesView } from './lines.ts';
import { runSummary } from './summary.ts';
import { terminalView } from './terminal.ts';

const codes: Partial<Record<RunState, number>> = {
  [RunState.SUCCEEDED]: exitCodes.succeeded,
  [RunState.FAILED]: exitCodes.failed,
  [RunState.CANCELLED]: exitCodes.cancelled,
};

/** What a retry of a run that did not succeed does. */
export function retryHint({ outputs }: Run, id: string): string {
  const hasTrained = outputs !== undefined && outputs.training !== '';
  return `'pairwise runs retry ${id}' ${hasTrained ? 'continues from its last checkpoint' : 'tries it again'}`;
}

function printEnd(context: Context, run: Run, points: readonly MetricPoint[]): void {
  const id = shortName(run.name, context.project);
  const text = runSummary(run, points, process.stdout.isTTY ? process.stdout.columns : 100);
  if (text !== '') say(`\n${text}`);
  const seconds = run.createTime && run.endTime ? (run.endTime.getTime() - run.createTime.getTime()) / 1000 : 0;
  if (run.state === RunState.SUCCEEDED) {
    say(`\n${paint('green', '✔')} ${id} succeeded in ${formatSeconds(seconds)}`);
    say(`  pairwise artifacts download ${id}`);
  } else if (run.state === RunState.CANCELLED) {
    say(`\n${paint('yellow', '■')} ${id} was cancelled; ${retryHint(run, id)}`);
  } else {
    say(`\n${paint('red', '✖')} ${id} failed; ${retryHint(run, id)}`);
    printError(failureOf(run.error), context);
  }
}

/**
 * Shows a run until it ends, and returns the exit code for its outcome. After Ctrl-C the run continues, and the code is
 * 130.
 */
export async function watchUntilEnd(context: Context, name: string): Promise<number> {
  const { services, json, interrupted, project } = context;
  const view = process.stdout.isTTY ? terminalView() : linesView();
  const points: MetricPoint[] = [];
  let last: Run | undefined;
  try {
    const lost = ({ message }: Error) => view.lost(message);
    for await (const message of followRun(services, name, { signal: interrupted, lost })) {
      const { payload } = message;
      if (payload?.$case === 'run') last = payload.value;
      if (json) sayJson(WatchRunResponse.toJSON(message));
      else if (payload?.$case === 'run') view.run(payload.value);
      else if (payload?.$case === 'event') view.event(payload.value);
      else if (payload?.$case === 'metrics') {
        points.push(payload.value);
        view.metrics(payload.value);
      }
    }
  } catch (error) {
    if (!interrupted.aborted) throw error;
  } finally {
    view.close();
  }
  if (interrupted.aborted || last === undefined) {
    const id = shortName(name, project);
    process.stderr.write(
      `\nDetached; the run continues.\n  watch it:   pairwise runs watch ${id}\n  cancel it:  pairwise runs cancel ${id}\n`,
    );
    return exitCodes.detached;
  }
  if (!json) printEnd(context, last, points);
  return codes[last.state] ?? exitCodes.failed;
}
