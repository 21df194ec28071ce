import { ExportState, type Export, type Run } from '@pairwise/api';
import { statusOf } from '@pairwise/rpc';
import type { Driver } from '../driver.ts';
import { cancelled, follow, patiently } from '../follow.ts';
import { idOf, outputsOf, parentOf, progress, resolvedSpecOf } from '../run.ts';
import type { StageName } from '../runs.ts';

/** Has the artifacts made; their verification is a stage of its own. */
export async function exportArtifacts(driver: Driver, run: Run) {
  const { peers, runs } = driver;
  const { checkpoint, encoding } = outputsOf(run);
  const { export: started } = await patiently(driver, run.name, () =>
    peers.export.startExport({
      parent: parentOf(run),
      exportId: idOf(run),
      source: { $case: 'checkpoint', value: checkpoint },
      targets: resolvedSpecOf(run).exportTargets,
      baseName: '',
      encoding,
    }),
  );
  await runs.change(run.name, (changing) => {
    outputsOf(changing).export = started!.name;
    return [];
  });
  await followExport(driver, run, 'export', started!.name, ({ state }) => state === ExportState.VERIFYING);
}

/** Waits until llama.cpp has reproduced the policy, and puts the artifacts with their figures on the run. */
export async function verify(driver: Driver, run: Run) {
  const done = await followExport(driver, run, 'verify', outputsOf(run).export, () => false);
  await driver.runs.change(run.name, (changing) => {
    outputsOf(changing).artifacts = done.artifacts;
    return done.artifacts.map(({ name, verification }) => ({
      type: 'artifact.finished',
      stage: 'verify',
      message:
        verification === undefined
          ? `${name} is finished.`
          : `${name} is finished; its logps differ by at most ${verification.maxAbsLogpDiff.toExponential(2)} nats.`,
    }));
  });
}

function followExport(
  driver: Driver,
  run: Run,
  stage: StageName,
  name: string,
  until: (now: Export) => boolean,
): Promise<Export> {
  const ends: readonly ExportState[] = [ExportState.SUCCEEDED, ExportState.FAILED, ExportState.CANCELLED];
  return follow(driver, run.name, {
    read: async () => (await driver.peers.export.getExport({ name })).export!,
    ended: (now) => until(now) || ends.includes(now.state),
    error: (now) => (now.state === ExportState.CANCELLED ? statusOf(cancelled()) : now.error),
    cancel: () => driver.peers.export.cancelExport({ name }),
    changed: async ({ artifacts, targetCount }) => {
      await driver.runs.change(run.name, (changing) =>
        progress(changing, stage, artifacts.length, targetCount, 'artifacts'),
      );
    },
  });
}
