import { targetModules, type LoraSettings } from '@pairwise/model';
import { fieldChecks, largestInt32, type FieldChecks } from './fieldChecks.ts';
import { lossTypes, type Objective } from './losses.ts';

/** The settings that a caller may give: structurally the proto's `TrainingSpec`, which documents units and ranges. */
export interface HyperparameterInput {
  learningRate?: number | undefined;
  duration?: { $case: 'numTrainEpochs'; value: number } | { $case: 'maxSteps'; value: number } | undefined;
  lrSchedulerType?: string | undefined;
  warmup?: { $case: 'warmupSteps'; value: number } | { $case: 'warmupRatio'; value: number } | undefined;
  maxGradNorm?: number | undefined;
  weightDecay?: number | undefined;
  adamBeta1?: number | undefined;
  adamBeta2?: number | undefined;
  adamEpsilon?: number | undefined;
  beta?: number | undefined;
  labelSmoothing?: number | undefined;
  losses?: readonly { type: string; weight?: number | undefined }[];
  seed?: number | undefined;
  batchSize?: number | undefined;
  loggingSteps?: number | undefined;
  evalSteps?: number | undefined;
  saveSteps?: number | undefined;
  saveTotalLimit?: number | undefined;
  maxLength?: number | undefined;
  microBatchRows?: number | undefined;
  tuning?: { $case: 'lora'; value: LoraInput } | undefined;
}

export interface LoraInput {
  r?: number | undefined;
  loraAlpha?: number | undefined;
  targetModules?: readonly string[];
  useRslora?: boolean | undefined;
}

export const schedulerTypes = ['constant', 'linear', 'cosine'] as const;
export type SchedulerType = (typeof schedulerTypes)[number];

/** A training's settings with all defaults filled in; names and units are those of the proto's `TrainingSpec`. */
export interface Hyperparameters extends Objective {
  learningRate: number;
  duration: { $case: 'numTrainEpochs'; value: number } | { $case: 'maxSteps'; value: number };
  lrSchedulerType: SchedulerType;
  warmup: { $case: 'warmupSteps'; value: number } | { $case: 'warmupRatio'; value: number };
  maxGradNorm: number;
  weightDecay: number;
  adamBeta1: number;
  adamBeta2: number;
  adamEpsilon: number;
  seed: number;
  batchSize: number;
  loggingSteps: number;
  evalSteps: number;
  saveSteps: number;
  saveTotalLimit: number;
  maxLength: number;
  /** 0 until the memory plan has chosen. */
  microBatchRows: number;
  tuning: { $case: 'lora'; value: LoraSettings };
}

/**
 * Fills in the defaults and checks every range. Throws INVALID_ARGUMENT with the field's path, which begins with `path`, such
 * as `spec.training`.
 */
export function resolveHyperparameters(input: HyperparameterInput, path: string): Hyperparameters {
  const check = fieldChecks(path);
  return {
    learningRate: check.real('learning_rate', input.learningRate ?? 1e-5, { above: 0, to: 1 }),
    duration: resolveDuration(input.duration, check),
    lrSchedulerType: check.oneOf('lr_scheduler_type', input.lrSchedulerType ?? 'linear', schedulerTypes),
    warmup: resolveWarmup(input.warmup, check),
    maxGradNorm: check.real('max_grad_norm', input.maxGradNorm ?? 1, { from: 0, to: 1e9 }),
    weightDecay: check.real('weight_decay', input.weightDecay ?? 0, { from: 0, to: 100 }),
    adamBeta1: check.real('adam_beta1', input.adamBeta1 ?? 0.9, { from: 0, below: 1 }),
    adamBeta2: check.real('adam_beta2', input.adamBeta2 ?? 0.999, { from: 0, below: 1 }),
    adamEpsilon: check.real('adam_epsilon', input.adamEpsilon ?? 1e-8, { above: 0, to: 1 }),
    beta: check.real('beta', input.beta ?? 0.1, { above: 0, to: 100 }),
    labelSmoothing: check.real('label_smoothing', input.labelSmoothing ?? 0, { from: 0, below: 0.5 }),
    losses: resolveLosses(input.losses ?? [], check),
    seed: check.count('seed', input.seed ?? 42, -(2 ** 31)),
    batchSize: check.count('batch_size', input.batchSize ?? 8, 1, 4096),
    loggingSteps: check.count('logging_steps', input.loggingSteps ?? 1, 1),
    evalSteps: check.count('eval_steps', input.evalSteps ?? 0, 0),
    saveSteps: check.count('save_steps', input.saveSteps ?? 50, 1),
    saveTotalLimit: check.count('save_total_limit', input.saveTotalLimit ?? 2, 1),
    maxLength: check.count('max_length', input.maxLength ?? 1024, 2),
    microBatchRows: resolveMicroBatchRows(input.microBatchRows ?? 0, check),
    tuning: { $case: 'lora', value: resolveLora(input.tuning?.value ?? {}, check) },
  };
}

/**
 * Refuses a training over `pairCount` pairs that would take more optimizer steps than fit into an int32. Throws
 * INVALID_ARGUMENT with the field's path, which begins with `path`.
 */
export function checkStepCount(pairCount: number, hyperparameters: Hyperparameters, path: string): void {
  const { batchSize, duration } = hyperparameters;
  const steps = stepCount(pairCount, hyperparameters);
  if (steps <= largestInt32) return;
  const updates = `${steps} optimizer updates over ${pairCount} pairs in batches of ${batchSize}`;
  const problem = `is ${duration.value}, which makes ${updates}; it must make at most ${largestInt32}`;
  fieldChecks(path).refuse('num_train_epochs', problem);
}

/** The optimizer steps of a training over `pairCount` pairs; an incomplete last batch counts as one. */
export function stepCount(pairCount: number, { batchSize, duration }: Hyperparameters): number {
  if (duration.$case === 'maxSteps') return duration.value;
  return Math.max(1, Math.ceil(Math.ceil(pairCount / batchSize) * duration.value));
}

/** The steps of linear warm-up. A ratio is rounded up, as transformers does. */
export function warmupStepCount({ warmup }: Hyperparameters, steps: number): number {
  return warmup.$case === 'warmupSteps' ? warmup.value : Math.ceil(steps * warmup.value);
}

function resolveDuration(duration: HyperparameterInput['duration'], check: FieldChecks): Hyperparameters['duration'] {
  if (duration?.$case === 'maxSteps') {
    return { $case: 'maxSteps', value: check.count('max_steps', duration.value, 1) };
  }
  const epochs = { above: 0, to: 10_000 };
  return { $case: 'numTrainEpochs', value: check.real('num_train_epochs', duration?.value ?? 1, epochs) };
}

function resolveMicroBatchRows(rows: number, check: FieldChecks): number {
  return rows === 0 ? 0 : check.count('micro_batch_rows', rows, 64, 65_536);
}

function resolveWarmup(warmup: HyperparameterInput['warmup'], check: FieldChecks): Hyperparameters['warmup'] {
  if (warmup?.$case === 'warmupRatio') {
    return { $case: 'warmupRatio', value: check.real('warmup_ratio', warmup.value, { from: 0, to: 1 }) };
  }
  return { $case: 'warmupSteps', value: check.count('warmup_steps', warmup?.value ?? 0, 0) };
}

function resolveLosses(
  losses: readonly { type: string; weight?: number | undefined }[],
  check: FieldChecks,
): Hyperparameters['losses'] {
  const [{ type, weight } = { type: 'sigmoid', weight: 1 }, ...others] = losses;
  if (others.length > 0) check.refuse('losses', 'names several losses; this version supports only one');
  return [
    {
      type: check.oneOf('losses[0].type', type, lossTypes),
      weight: check.real('losses[0].weight', weight ?? 1, { above: 0, to: 1000 }),
    },
  ];
}

/** The most names in `target_modules`: a bound on the work, far above the number of modules. */
const mostNames = 32;

function resolveLora(lora: LoraInput, check: FieldChecks): LoraSettings {
  const named = lora.targetModules ?? [];
  if (named.length > mostNames) {
    check.refuse('lora.target_modules', `has ${named.length} elements; it must have at most ${mostNames}`);
  }
  const all = named.length === 0 || named.includes('all-linear');
  const chosen = all
    ? []
    : named.map((name, i) => check.oneOf(`lora.target_modules[${i}]`, name, targetModules, 'all-linear'));
  return {
    r: check.count('lora.r', lora.r ?? 16, 1, 1024),
    loraAlpha: check.real('lora.lora_alpha', lora.loraAlpha ?? 32, { above: 0, to: 65_536 }),
    targetModules: targetModules.filter((name) => all || chosen.includes(name)),
    useRslora: lora.useRslora ?? false,
  };
}
