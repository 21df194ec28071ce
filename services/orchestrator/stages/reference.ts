import { CoverageState, type Coverage, type Run } from '@pairwise/api';
import { statusOf } from '@pairwise/rpc';
import type { Driver } from '../driver.ts';
import { cancelled, follow, patiently } from '../follow.ts';
import { outputsOf, parentOf, progress } from '../run.ts';

/** Sees to the reference logps of training and evaluation pairs. */
export async function reference(driver: Driver, run: Run) {
  const { model, encoding, evalEncoding } = outputsOf(run);
  const training = await cover(driver, run, model, encoding);
  const evaluation = evalEncoding === '' ? undefined : await cover(driver, run, model, evalEncoding);
  await driver.runs.change(run.name, (changing) => {
    const outputs = outputsOf(changing);
    outputs.coverage = training.name;
    outputs.evalCoverage = evaluation?.name ?? '';
    outputs.referenceComputedCount = training.computedCount + (evaluation?.computedCount ?? 0);
    outputs.referenceReusedCount = training.reusedCount + (evaluation?.reusedCount ?? 0);
    const { referenceComputedCount, referenceReusedCount } = outputs;
    const message = `${referenceComputedCount} reference logps were computed, ${referenceReusedCount} were in the store.`;
    return [{ type: 'reference.complete', stage: 'reference', message }];
  });
}

async function cover(driver: Driver, run: Run, model: string, encoding: string): Promise<Coverage> {
  const { peers, runs } = driver;
  const parent = parentOf(run);
  const { coverage } = await patiently(driver, run.name, () =>
    peers.reference.ensureLogps({ parent, model, encoding }),
  );
  const { name } = coverage!;
  return follow(driver, run.name, {
    read: async () => (await peers.reference.getCoverage({ name })).coverage!,
    ended: ({ state }) => state !== CoverageState.COMPUTING,
    error: (now) => (now.state === CoverageState.CANCELLED ? statusOf(cancelled()) : now.error),
    cancel: () => peers.reference.cancelCoverage({ name }),
    changed: async ({ reusedCount, computedCount, responseCount }) => {
      await runs.change(run.name, (changing) =>
        progress(changing, 'reference', reusedCount + computedCount, responseCount, 'responses'),
      );
    },
  });
}
