import { CoverageState, type Coverage, type Run } from '@pairwise/api';
import type { Driver } from '../driver.ts';
import { follow } from '../follow.ts';
import { outputsOf, parentOf, progress } from '../run.ts';

/** Sees to the reference logps of training and evaluation pairs. */
export async function reference(driver: Driver, run: Run, signal: AbortSignal): Promise<void> {
  const { evalEncoding, encoding } = outputsOf(run);
  const training = await cover(driver, run, encoding, 'coverage', signal);
  const evaluation = evalEncoding === '' ? [] : [await cover(driver, run, evalEncoding, 'evalCoverage', signal)];
  await driver.runs.change(run.name, (changing) => {
    // A coverage that began before the run was computed for another one.
    const all = [training, ...evaluation];
    const own = all.filter(({ createTime }) => createTime! >= run.createTime!);
    const computed = own.reduce((sum, { computedCount }) => sum + computedCount, 0);
    const reused = all.reduce((sum, { responseCount }) => sum + responseCount, 0) - computed;
    outputsOf(changing).referenceComputedCount = computed;
    outputsOf(changing).referenceReusedCount = reused;
    const message = `${computed} reference logps were computed, ${reused} were in the store.`;
    return [{ type: 'reference.complete', stage: 'reference', message }];
  });
}

async function cover(
  driver: Driver,
  run: Run,
  encoding: string,
  output: 'coverage' | 'evalCoverage',
  signal: AbortSignal,
): Promise<Coverage> {
  const { peers, runs, patienceMs } = driver;
  const { model } = outputsOf(run);
  const { coverage } = await peers.reference.ensureLogps(
    { parent: parentOf(run), model, encoding },
    { deadline: new Date(Date.now() + patienceMs) },
  );
  const { name } = coverage!;
  await runs.change(run.name, (changing) => {
    outputsOf(changing)[output] = name;
    return [];
  });
  const ended = await follow(
    {
      read: async () => (await peers.reference.getCoverage({ name }, { signal })).coverage!,
      ended: ({ state }) => state !== CoverageState.COMPUTING,
      error: ({ error }) => error,
      changed: async ({ reusedCount, computedCount, responseCount }) => {
        await runs.change(run.name, (changing) =>
          progress(changing, 'reference', reusedCount + computedCount, responseCount, 'responses'),
        );
      },
    },
    signal,
  );
  // The run that had begun it was cancelled: this one still needs it.
  return ended.state === CoverageState.CANCELLED ? cover(driver, run, encoding, output, signal) : ended;
}
