import { count, record as measure } from '@pairwise/telemetry';
import {
  dpoStepOn,
  evaluateDpo,
  tokenCount,
  trainingOperations,
  workSize,
  type OptimizerState,
} from '@pairwise/training';
import { checkFirstLoss } from './firstLoss.ts';
import type { Reached, Task } from './task.ts';

/**
 * Trains from the last checkpoint to the step `to`, with the evaluations on the way, and saves a checkpoint. A segment
 * that is stopped saves one as well, unless it would repeat the one that it started from.
 */
export async function trainSegment(task: Task, to: number, signal: AbortSignal): Promise<Reached> {
  const state = await task.load();
  const start = state.step;
  // The last step that is recorded completely, apart from its evaluation.
  let recorded = start;
  try {
    for (;;) {
      if (isEvaluated(task, recorded) && !(await task.hasMetrics('eval', recorded))) {
        await evaluate(task, state, signal);
      }
      if (recorded >= to) break;
      await trainStep(task, state, signal);
      recorded = state.step;
    }
  } catch (error) {
    if (signal.aborted && state.step === recorded && recorded > start) await task.save(state);
    throw error;
  }
  return task.save(state);
}

/** Whether the policy is evaluated after `step`: before the first step, at the end, and every `evalSteps` steps. */
function isEvaluated({ dpo, total }: Task, step: number): boolean {
  const { evalSteps } = dpo.hyperparameters;
  return step === 0 || step === total || (evalSteps > 0 && step % evalSteps === 0);
}

/** One optimizer step, in place, with its metrics. Throws the signal's reason between micro-batches. */
async function trainStep(
  { dpo, batchOf, policy, referenceDiffers, total, numericsProfile, recordMetrics }: Task,
  state: OptimizerState,
  signal: AbortSignal,
) {
  const batch = batchOf(state.step);
  const startMs = performance.now();
  const metrics = await dpoStepOn(policy.training.run, dpo, state, batch, () => signal.throwIfAborted());
  const seconds = (performance.now() - startMs) / 1000;
  const { value: lora } = dpo.hyperparameters.tuning;
  const operations = trainingOperations(dpo.config, lora, workSize(batch), policy.activationCheckpointing);
  policy.meter.add(operations, seconds);
  measure('pairwise.training.step.duration', seconds, {});
  count('pairwise.tokens', tokenCount(batch), { 'pairwise.activity': 'train' });
  // A reference with other weights differs by what rounding them costs, which nothing would tell from another model.
  if (state.step === 1 && !referenceDiffers) checkFirstLoss(metrics, dpo.hyperparameters, numericsProfile);
  if (state.step % dpo.hyperparameters.loggingSteps === 0 || state.step === total) {
    await recordMetrics('train', state.step, metrics);
  }
}

/** Evaluates the policy on the held-out pairs, if any. Throws the signal's reason between micro-batches. */
async function evaluate({ dpo, policy, evalPairs, recordMetrics }: Task, state: OptimizerState, signal: AbortSignal) {
  if (evalPairs.length === 0) return;
  const stopCheck = () => signal.throwIfAborted();
  const { run } = await policy.evaluation();
  const metrics = await evaluateDpo(run, dpo, state.parameters, evalPairs, stopCheck);
  count('pairwise.tokens', tokenCount(evalPairs), { 'pairwise.activity': 'evaluate' });
  await recordMetrics('eval', state.step, metrics);
}
