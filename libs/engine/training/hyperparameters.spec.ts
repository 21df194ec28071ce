import { targetModules } from '@pairwise/model';
import { expect, test } from 'vitest';
import {
  checkStepCount,
  resolveHyperparameters,
  stepCount,
  warmupStepCount,
  type HyperparameterInput,
} from './hyperparameters.ts';

const resolve = (input: HyperparameterInput) => resolveHyperparameters(input, 'spec.training');

test('the defaults are those in the documentation', () => {
  expect(resolve({})).toMatchObject({
    learningRate: 1e-5,
    duration: { $case: 'numTrainEpochs', value: 1 },
    lrSchedulerType: 'linear',
    beta: 0.1,
    batchSize: 8,
    maxGradNorm: 1,
    losses: [{ type: 'sigmoid', weight: 1 }],
    tuning: { $case: 'lora', value: { r: 16, loraAlpha: 32, useRslora: false } },
  });
  expect(resolve({}).tuning.value.targetModules).toEqual(targetModules);
});

test('resolved hyperparameters resolve to themselves', () => {
  const once = resolve({ beta: 0.3, tuning: { $case: 'lora', value: { targetModules: ['v_proj', 'q_proj'] } } });
  expect(once.tuning.value.targetModules).toEqual(['q_proj', 'v_proj']);
  expect(resolve(once)).toEqual(once);
});

test.each<[string, HyperparameterInput]>([
  ['spec.training.beta is 0; it must be above 0', { beta: 0 }],
  ['spec.training.beta is NaN', { beta: NaN }],
  ['spec.training.learning_rate is -1', { learningRate: -1 }],
  ['spec.training.label_smoothing is 0.5; it must be at least 0 and below 0.5', { labelSmoothing: 0.5 }],
  ['spec.training.batch_size is 0; it must be a whole number from 1 to 4096', { batchSize: 0 }],
  ['spec.training.max_steps is 0', { duration: { $case: 'maxSteps', value: 0 } }],
  ['spec.training.warmup_ratio is 2', { warmup: { $case: 'warmupRatio', value: 2 } }],
  ["spec.training.lr_scheduler_type is 'polynomial'", { lrSchedulerType: 'polynomial' }],
  ["spec.training.losses[0].type is 'ipo'", { losses: [{ type: 'ipo' }] }],
  [
    "spec.training.lora.target_modules[0] is 'lm_head'; it must be one of all-linear, q_proj",
    { tuning: { $case: 'lora', value: { targetModules: ['lm_head'] } } },
  ],
])('%s', (message, input) => {
  expect(() => resolve(input)).toThrow(message);
});

test.each<[string, (value: number) => HyperparameterInput, number[], number[]]>([
  ['learning_rate', (learningRate) => ({ learningRate }), [1e-12, 1], [0, -1e-5, 1.1, NaN, Infinity]],
  [
    'num_train_epochs',
    (value) => ({ duration: { $case: 'numTrainEpochs', value } }),
    [0.01, 10_000],
    [0, -1, 10_001, 1e300, NaN],
  ],
  ['max_steps', (value) => ({ duration: { $case: 'maxSteps', value } }), [1, 2 ** 31 - 1], [0, 1.5, -1, 2 ** 31, NaN]],
  ['warmup_steps', (value) => ({ warmup: { $case: 'warmupSteps', value } }), [0, 10], [-1, 0.5]],
  ['warmup_ratio', (value) => ({ warmup: { $case: 'warmupRatio', value } }), [0, 1], [-0.1, 1.1, NaN]],
  ['max_grad_norm', (maxGradNorm) => ({ maxGradNorm }), [0, 1e9], [-1, 1.1e9, NaN, Infinity]],
  ['weight_decay', (weightDecay) => ({ weightDecay }), [0, 100], [-0.1, 101, NaN]],
  ['adam_beta1', (adamBeta1) => ({ adamBeta1 }), [0, 0.999], [-0.1, 1, NaN]],
  ['adam_beta2', (adamBeta2) => ({ adamBeta2 }), [0, 0.9999], [-0.1, 1, NaN]],
  ['adam_epsilon', (adamEpsilon) => ({ adamEpsilon }), [1e-12, 1], [0, -1e-8, 1.1, NaN]],
  ['beta', (beta) => ({ beta }), [1e-6, 100], [0, -0.1, 101, NaN, Infinity]],
  ['label_smoothing', (labelSmoothing) => ({ labelSmoothing }), [0, 0.49], [-0.1, 0.5, NaN]],
  ['losses[0].weight', (weight) => ({ losses: [{ type: 'sigmoid', weight }] }), [0.1, 1000], [0, -1, 1001, NaN]],
  ['seed', (seed) => ({ seed }), [-(2 ** 31), 0, 2 ** 31 - 1], [2 ** 31, 0.5, NaN]],
  ['batch_size', (batchSize) => ({ batchSize }), [1, 4096], [0, 4097, 1.5]],
  ['logging_steps', (loggingSteps) => ({ loggingSteps }), [1], [0, -1, 0.5]],
  ['eval_steps', (evalSteps) => ({ evalSteps }), [0, 5], [-1, 0.5]],
  ['save_steps', (saveSteps) => ({ saveSteps }), [1], [0, -1, 0.5]],
  ['save_total_limit', (saveTotalLimit) => ({ saveTotalLimit }), [1], [0, -1, 0.5]],
  ['max_length', (maxLength) => ({ maxLength }), [2, 8192], [1, 0, 2.5]],
  ['lora.r', (r) => ({ tuning: { $case: 'lora', value: { r } } }), [1, 1024], [0, 1025, 1.5]],
  [
    'lora.lora_alpha',
    (loraAlpha) => ({ tuning: { $case: 'lora', value: { loraAlpha } } }),
    [0.5, 65_536],
    [0, -1, 65_537, NaN],
  ],
])('%s: both ends are accepted, and values outside are refused by name', (field, input, inside, outside) => {
  for (const value of inside) expect(() => resolve(input(value))).not.toThrow();
  for (const value of outside) {
    const refused = { reason: 'INVALID_ARGUMENT', field: `spec.training.${field}` };
    expect(() => resolve(input(value)), String(value)).toThrow(expect.objectContaining(refused) as Error);
  }
});

test('a very long list of modules is refused as a whole', () => {
  const targetModules = Array.from({ length: 33 }, () => 'q_proj');
  expect(() => resolve({ tuning: { $case: 'lora', value: { targetModules } } })).toThrow(
    'spec.training.lora.target_modules has 33 elements; it must have at most 32',
  );
});

test('several losses are refused, since only one is supported', () => {
  const losses = [{ type: 'sigmoid' }, { type: 'sigmoid' }];
  expect(() => resolve({ losses })).toThrow('spec.training.losses names several losses');
});

test('a training with more steps than an int32 can count is refused', () => {
  const long = resolve({ duration: { $case: 'numTrainEpochs', value: 10_000 }, batchSize: 1 });
  expect(() => checkStepCount(214_748, long, 'spec')).not.toThrow();
  expect(() => checkStepCount(214_749, long, 'spec')).toThrow(
    'spec.num_train_epochs is 10000, which makes 2147490000 optimizer updates over 214749 pairs in batches of 1',
  );
  const most = resolve({ duration: { $case: 'maxSteps', value: 2 ** 31 - 1 }, batchSize: 1 });
  expect(() => checkStepCount(2 ** 31 - 1, most, 'spec')).not.toThrow();
});

test('steps and warm-up are counted as documented', () => {
  const epochs = (value: number) => resolve({ duration: { $case: 'numTrainEpochs', value } });
  expect(stepCount(1000, epochs(1))).toBe(125);
  expect(stepCount(1001, epochs(1))).toBe(126);
  expect(stepCount(1000, epochs(0.5))).toBe(63);
  expect(stepCount(3, epochs(0.1))).toBe(1);
  expect(warmupStepCount(resolve({ warmup: { $case: 'warmupRatio', value: 0.1 } }), 125)).toBe(13);
  expect(warmupStepCount(resolve({ warmup: { $case: 'warmupSteps', value: 5 } }), 125)).toBe(5);
});
