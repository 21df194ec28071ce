import { ExportState, type Artifact, type Export } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { decidingFigure, hasEnded, isGguf } from '@pairwise/rpc';
import { untilEnded } from '../poll.ts';
import { idOf, outputsOf, parentOf, type StageName } from '../run.ts';
import { changed, type RunChange } from '../runs.ts';
import type { NewEvent } from '../runLog.ts';
import type { StageContext } from './context.ts';

/** Exports the artifacts. Verifying them is a stage of its own. */
export async function exportArtifacts(context: StageContext): Promise<void> {
  const { run, spec, peers, change, startDeadline } = context;
  const { checkpoint, encoding, evalEncoding } = outputsOf(run);
  const name = `${parentOf(run)}/exports/${idOf(run)}`;
  // The name is stored before the call, which ignores the signal, so that a cancellation always finds the export.
  await change((changing) => {
    outputsOf(changing).export = name;
    return changed();
  });
  const request = {
    parent: parentOf(run),
    exportId: idOf(run),
    source: { $case: 'checkpoint' as const, value: checkpoint },
    targets: spec.exportTargets,
    baseName: '',
    encoding,
    evalEncoding,
  };
  await peers.export.startExport(request, { deadline: startDeadline() });
  await exportUntil(context, name, {
    awaited: (exported) => exported.state === ExportState.VERIFYING || hasEnded(ExportState, exported),
    isDone: () => true,
    total: spec.exportTargets.length,
  });
}

/** Waits until llama.cpp has reproduced the policy, and stores the artifacts with their figures on the run. */
export async function verify(context: StageContext): Promise<void> {
  const { artifacts } = await exportUntil(context, outputsOf(context.run).export, {
    awaited: (exported) => hasEnded(ExportState, exported),
    isDone: ({ verification }) => verification !== undefined,
    total: context.spec.exportTargets.filter(isGguf).length,
  });
  await context.change((changing): RunChange => {
    outputsOf(changing).artifacts = artifacts;
    return changed(...artifacts.flatMap(eventsOf));
  });
}

/** An artifact is finished, and what llama.cpp does differently with it. */
function eventsOf(artifact: Artifact): NewEvent[] {
  const stage: StageName = 'verify';
  return [
    { type: 'artifact.finished', stage, message: describe(artifact) },
    ...artifact.caveats.map((caveat) => ({ type: 'artifact.caveat', stage, message: `${artifact.name}: ${caveat}.` })),
  ];
}

function describe(artifact: Artifact): string {
  const figure = decidingFigure(artifact);
  if (figure === undefined) return `${artifact.name} is finished.`;
  const { kind, nats, limit } = figure;
  return `${artifact.name} is finished; its ${kind} is ${nats.toExponential(2)} nats per token (limit ${limit.toPrecision(2)}).`;
}

/** What a stage waits for, and which of how many artifacts are done with it. */
interface Milestone {
  awaited: (exported: Export) => boolean;
  isDone: (artifact: Artifact) => boolean;
  total: number;
}

/** Follows an export until it is as `awaited`. Throws its error, and CANCELLED if it was cancelled. */
async function exportUntil(
  { peers, signal, report }: StageContext,
  name: string,
  { awaited, isDone, total }: Milestone,
): Promise<Export> {
  const ended = await untilEnded(
    {
      read: async () => (await peers.export.getExport({ name }, { signal })).export!,
      ended: awaited,
      error: ({ error }) => error,
      changed: ({ artifacts }) => report({ completed: artifacts.filter(isDone).length, total, unit: 'artifacts' }),
    },
    signal,
  );
  if (ended.state === ExportState.CANCELLED) throw new PairwiseError('CANCELLED', `${name} was cancelled`);
  return ended;
}
