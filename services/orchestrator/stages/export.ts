import { ExportState, type Export, type Run } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Driver } from '../driver.ts';
import { follow } from '../follow.ts';
import { idOf, outputsOf, parentOf, progress, resolvedSpecOf } from '../run.ts';
import type { StageName } from '../runs.ts';

const ends: readonly ExportState[] = [ExportState.SUCCEEDED, ExportState.FAILED, ExportState.CANCELLED];

/** Has the artifacts made; their verification is a stage of its own. */
export async function exportArtifacts(driver: Driver, run: Run, signal: AbortSignal): Promise<void> {
  const { checkpoint, encoding } = outputsOf(run);
  const name = `${parentOf(run)}/exports/${idOf(run)}`;
  // Noted before it is begun, and begun whatever happens meanwhile, so that a cancellation finds it.
  await driver.runs.change(run.name, (changing) => {
    outputsOf(changing).export = name;
    return [];
  });
  const request = {
    parent: parentOf(run),
    exportId: idOf(run),
    source: { $case: 'checkpoint' as const, value: checkpoint },
    targets: resolvedSpecOf(run).exportTargets,
    baseName: '',
    encoding,
  };
  await driver.peers.export.startExport(request, { deadline: new Date(Date.now() + driver.patienceMs) });
  await followExport(driver, run, 'export', name, ({ state }) => state === ExportState.VERIFYING, signal);
}

/** Waits until llama.cpp has reproduced the policy, and puts the artifacts with their figures on the run. */
export async function verify(driver: Driver, run: Run, signal: AbortSignal): Promise<void> {
  const { artifacts } = await followExport(driver, run, 'verify', outputsOf(run).export, () => false, signal);
  await driver.runs.change(run.name, (changing) => {
    outputsOf(changing).artifacts = artifacts;
    return artifacts.map(({ name, verification }) => ({
      type: 'artifact.finished',
      stage: 'verify',
      message:
        verification === undefined
          ? `${name} is finished.`
          : `${name} is finished; its logps differ by at most ${verification.maxAbsLogpDiff.toExponential(2)} nats.`,
    }));
  });
}

async function followExport(
  { peers, runs }: Driver,
  run: Run,
  stage: StageName,
  name: string,
  until: (now: Export) => boolean,
  signal: AbortSignal,
): Promise<Export> {
  const ended = await follow(
    {
      read: async () => (await peers.export.getExport({ name }, { signal })).export!,
      ended: (now) => until(now) || ends.includes(now.state),
      error: ({ error }) => error,
      changed: async ({ artifacts, targetCount }) => {
        await runs.change(run.name, (changing) =>
          progress(changing, stage, artifacts.length, targetCount, 'artifacts'),
        );
      },
    },
    signal,
  );
  if (ended.state === ExportState.CANCELLED) throw new PairwiseError('CANCELLED', `${name} was cancelled`);
  return ended;
}
