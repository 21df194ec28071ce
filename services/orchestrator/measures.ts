import { RunState, runStateToJSON, Run, StageState, type Stage } from '@pairwise/api';
import type { Database } from '@pairwise/database';
import { enumName } from '@pairwise/rpc';
import { observe, type Observation } from '@pairwise/telemetry';

const names = ['pairwise.runs', 'pairwise.run.progress'] as const;

const states = Object.values(RunState).filter((state) => state !== RunState.UNSPECIFIED);

/**
 * Registers gauges for the runs by state and for the progress of active runs. They are read whenever metrics are exported.
 * Returns a function that unregisters them.
 */
export function observeRuns(database: Database): () => void {
  return observe<(typeof names)[number]>(names, async () => [
    ...(await countRuns(database)),
    ...(await readProgress(database)),
  ]);
}

type Observed = Observation<(typeof names)[number]>;

/** Counts every state, so that a state without runs is exported as 0. */
async function countRuns(database: Database): Promise<Observed[]> {
  const rows = await database.rows<{ state: string; count: bigint }>(
    "select document ->> 'state' as state, count(*) from runs where delete_time is null group by 1",
  );
  const counts = new Map<string | number, number>(rows.map(({ state, count }) => [state, Number(count)]));
  return states.map((state) => ({
    name: 'pairwise.runs',
    value: counts.get(runStateToJSON(state)) ?? 0,
    attributes: { 'pairwise.run.state': enumName(RunState, state) },
  }));
}

async function readProgress(database: Database): Promise<Observed[]> {
  const active = [RunState.RUNNING, RunState.CANCELLING].map(runStateToJSON);
  const rows = await database.rows<{ document: unknown }>(
    "select document from runs where delete_time is null and document ->> 'state' = any ($1)",
    [active],
  );
  return rows.flatMap(({ document }) => {
    const { name, stages } = Run.fromJSON(document);
    return stages.map((stage) => ({
      name: 'pairwise.run.progress' as const,
      value: shareDone(stage),
      attributes: { 'pairwise.run.id': name, 'pairwise.stage': stage.name },
    }));
  });
}

function shareDone({ state, progress }: Stage): number {
  if (state === StageState.SUCCEEDED) return 1;
  const total = Number(progress?.totalCount ?? 0);
  return total === 0 ? 0 : Number(progress?.completedCount) / total;
}
