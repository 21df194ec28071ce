import type { EstimateTrainingRequest, TrainingEstimate } from '@pairwise/api';
import type { Rates } from '@pairwise/database';
import { leastMemoryBytes, type QueueState } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { adaptedModules, declaredBaseModel, parseConfig } from '@pairwise/model';
import { engineQuantization, parseName, workerMemory } from '@pairwise/rpc';
import { planTraining, stepCount, trainingOperations } from '@pairwise/training';
import { resolveTrainingSpec } from './start.ts';
import { choiceOf, levelOf } from './train/plan.ts';

export interface EstimateDeps {
  /** The workers that are alive. */
  workers: () => Promise<QueueState['workers']>;
  rates: Rates;
  numericsProfile: string;
}

/** Estimates a training without starting it. Throws the errors that the API documents. */
export async function estimateTraining(
  { workers, rates, numericsProfile }: EstimateDeps,
  request: EstimateTrainingRequest,
): Promise<TrainingEstimate> {
  const { pairCount, tokenCount, longestPairLength, evaluates } = request;
  parseName('projects/{project}', request.parent, 'parent');
  checkAtLeast('pair_count', pairCount, 1);
  checkAtLeast('token_count', tokenCount, 0);
  checkAtLeast('longest_pair_length', longestPairLength, 0);
  const spec = resolveTrainingSpec(request.spec);
  const config = parseConfig(parseJson(request.modelConfig));
  const { value: lora } = spec.tuning;
  const targetModules = adaptedModules(config.architecture, lora, 'spec.lora.target_modules');
  const hyperparameters = { ...spec, tuning: { $case: 'lora' as const, value: { ...lora, targetModules } } };
  const longestRows = longestPairLength > 0 ? longestPairLength : 2 * spec.maxLength;
  const alive = await workers();
  const availableBytes = leastMemoryBytes(alive);
  const plan = planTraining(declaredBaseModel(config, request.dtype, engineQuantization(spec.baseQuantization)), {
    hyperparameters,
    activationCheckpointing: levelOf(spec.activationCheckpointing),
    shapeOf: (rowLimit) => {
      const rows = Math.max(longestRows, Math.min(rowLimit, tokenCount > 0n ? Number(tokenCount) : rowLimit));
      return { rows, targets: rows, longestRows };
    },
    evaluates,
    availableBytes,
  });
  const steps = stepCount(pairCount, spec);
  const rate = await rates.of(numericsProfile);
  // Each response token is a target; without the texts, half of all tokens are taken to be of responses.
  const epoch = { rows: Number(tokenCount), targets: Number(tokenCount) / 2 };
  const operations = trainingOperations(config, hyperparameters.tuning.value, epoch, plan.activationCheckpointing);
  const epochs = (steps * spec.batchSize) / pairCount;
  return {
    resolvedSpec: { ...hyperparameters, activationCheckpointing: choiceOf(plan), microBatchRows: plan.microBatchRows },
    memory: workerMemory(plan.memory, availableBytes),
    stepCount: steps,
    durationSeconds: rate === undefined || tokenCount === 0n ? undefined : (operations * epochs) / rate,
    workerCount: alive.length,
  };
}

function checkAtLeast(field: string, value: number | bigint, least: number): void {
  if (value < least) refuse(field, `is ${value}; it must be at least ${least}`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return refuse('model_config', 'is not valid JSON; give the contents of config.json');
  }
}

function refuse(field: string, problem: string): never {
  throw new PairwiseError('INVALID_ARGUMENT', `${field} ${problem}`, { field });
}
