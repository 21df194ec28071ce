import { CoverageState, type Coverage } from '@pairwise/api';
import { hasEnded } from '@pairwise/rpc';
import { untilEnded } from '../poll.ts';
import { outputsOf, parentOf } from '../run.ts';
import { changed } from '../runs.ts';
import type { StageContext } from './context.ts';

/** Makes sure that the reference logps of the training and the evaluation pairs are in the store. */
export async function reference(context: StageContext): Promise<void> {
  const { run, change } = context;
  const { evalEncoding, encoding } = outputsOf(run);
  const coverages = [await cover(context, encoding, 'coverage')];
  if (evalEncoding !== '') coverages.push(await cover(context, evalEncoding, 'evalCoverage'));
  await change((changing) => {
    // A coverage that is older than the run was computed for another run.
    const own = coverages.filter(({ createTime }) => createTime! >= run.createTime!);
    const computed = own.reduce((sum, { computedCount }) => sum + computedCount, 0);
    const reused = coverages.reduce((sum, { responseCount }) => sum + responseCount, 0) - computed;
    outputsOf(changing).referenceComputedCount = computed;
    outputsOf(changing).referenceReusedCount = reused;
    const message = `${computed} reference logps were computed, ${reused} were in the store already.`;
    return changed({ type: 'reference.complete', stage: 'reference', message });
  });
}

async function cover(context: StageContext, encoding: string, output: 'coverage' | 'evalCoverage'): Promise<Coverage> {
  const { run, spec, peers, signal, change, report, startDeadline } = context;
  const { baseQuantization } = spec.training;
  const request = { parent: parentOf(run), model: outputsOf(run).model, encoding, baseQuantization };
  const { coverage } = await peers.reference.ensureLogps(request, { deadline: startDeadline() });
  const { name } = coverage!;
  await change((changing) => {
    outputsOf(changing)[output] = name;
    return changed();
  });
  const ended = await untilEnded(
    {
      read: async () => (await peers.reference.getCoverage({ name }, { signal })).coverage!,
      ended: (coverage) => hasEnded(CoverageState, coverage),
      error: ({ error }) => error,
      changed: ({ reusedCount, computedCount, responseCount }) =>
        report({ completed: reusedCount + computedCount, total: responseCount, unit: 'responses' }),
    },
    signal,
  );
  // The run that started it was cancelled, but this run still needs it.
  return ended.state === CoverageState.CANCELLED ? cover(context, encoding, output) : ended;
}
