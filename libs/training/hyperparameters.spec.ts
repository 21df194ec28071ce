import { expect, test } from 'vitest';
import { resolveHyperparameters, stepCount, warmupStepCount, type HyperparameterInput } from './hyperparameters.ts';

const resolve = (input: HyperparameterInput) => resolveHyperparameters(input, 'spec.training');

test('defaults are the documented ones', () => {
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
  expect(resolve({}).tuning.value.targetModules).toHaveLength(7);
});

test('what is resolved resolves to itself', () => {
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

test('steps and warm-up', () => {
  const epochs = (value: number) => resolve({ duration: { $case: 'numTrainEpochs', value } });
  expect(stepCount(1000, epochs(1))).toBe(125);
  expect(stepCount(1001, epochs(1))).toBe(126);
  expect(stepCount(1000, epochs(0.5))).toBe(63);
  expect(stepCount(3, epochs(0.1))).toBe(1);
  expect(warmupStepCount(resolve({ warmup: { $case: 'warmupRatio', value: 0.1 } }), 125)).toBe(13);
  expect(warmupStepCount(resolve({ warmup: { $case: 'warmupSteps', value: 5 } }), 125)).toBe(5);
});
