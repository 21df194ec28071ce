import { targetModules } from '@pairwise/model';
import { RunSpec, TrainingSpec } from '@pairwise/api';
import { expect, test } from 'vitest';
import { resolveRunSpec } from './resolve.ts';

const dataset = 'projects/default/datasets/concise/versions';
const minimal = {
  model: { source: { $case: 'uri' as const, value: 'file:///models/tiny' } },
  datasetVersion: `${dataset}/1`,
};

test('defaults are filled in, and resolving again changes nothing', () => {
  const resolved = resolveRunSpec(RunSpec.create(minimal));
  expect(resolved.exportTargets.map(({ name }) => name)).toEqual(['adapter', 'gguf-f16']);
  expect(TrainingSpec.toJSON(resolved.training)).toEqual({
    learningRate: 1e-5,
    numTrainEpochs: 1,
    lrSchedulerType: 'linear',
    warmupSteps: 0,
    maxGradNorm: 1,
    weightDecay: 0,
    adamBeta1: 0.9,
    adamBeta2: 0.999,
    adamEpsilon: 1e-8,
    beta: 0.1,
    labelSmoothing: 0,
    losses: [{ type: 'sigmoid', weight: 1 }],
    seed: 42,
    batchSize: 8,
    loggingSteps: 1,
    evalSteps: 0,
    saveSteps: 50,
    saveTotalLimit: 2,
    maxLength: 1024,
    truncationMode: 'TRUNCATION_MODE_REFUSE',
    baseQuantization: 'BASE_QUANTIZATION_NONE',
    activationCheckpointing: 'ACTIVATION_CHECKPOINTING_AUTO',
    microBatchRows: 0,
    lora: {
      r: 16,
      loraAlpha: 32,
      // Every name there is, until the model is known.
      targetModules: [...targetModules],
      useRslora: false,
    },
  });
  expect(resolveRunSpec(resolved)).toEqual(resolved);
  expect(resolveRunSpec(RunSpec.decode(RunSpec.encode(resolved).finish()))).toEqual(resolved);
});

test.each<[string, Parameters<typeof RunSpec.fromPartial>[0]]>([
  ['spec.model is not set', { model: undefined }],
  [
    "spec.model.hub.repo_id is 'gpt2'; it must be organisation/name",
    { model: { source: { $case: 'hub', value: { repoId: 'gpt2' } } } },
  ],
  ["spec.dataset_version is 'concise'", { datasetVersion: 'concise' }],
  ["spec.dataset_version is 'projects/default/datasets/concise/versions/0'", { datasetVersion: `${dataset}/0` }],
  ["spec.eval_dataset_version is ''", { evaluation: { $case: 'evalDatasetVersion', value: '' } }],
  ['spec.eval_fraction is 1', { evaluation: { $case: 'evalFraction', value: 1 } }],
  ['spec.eval_fraction is -0.1', { evaluation: { $case: 'evalFraction', value: -0.1 } }],
  ['spec.eval_fraction is NaN', { evaluation: { $case: 'evalFraction', value: NaN } }],
  ['spec.model.uri is empty', { model: { source: { $case: 'uri', value: '' } } }],
  ['spec.training.beta is -1', { training: { beta: -1 } }],
  [
    "spec.export_targets[0].gguf.type is 'Q9_9'",
    { exportTargets: [{ format: { $case: 'gguf', value: { type: 'Q9_9' } } }] },
  ],
  ['spec.export_targets[0] has no format', { exportTargets: [{ name: 'x' }] }],
  [
    "spec.export_targets[1].name is 'adapter', which is an earlier target's name",
    {
      exportTargets: [{ format: { $case: 'adapter', value: {} } }, { format: { $case: 'adapter', value: {} } }],
    },
  ],
  [
    'spec.export_targets has 33 elements; it must have at most 32',
    {
      exportTargets: Array.from({ length: 33 }, (_, n) => ({ name: `t${n}`, format: { $case: 'adapter', value: {} } })),
    },
  ],
  [
    "spec.export_targets[0].name is '../x'",
    { exportTargets: [{ name: '../x', format: { $case: 'adapter', value: {} } }] },
  ],
])('%s', (message, change) => {
  expect(() => resolveRunSpec(RunSpec.fromPartial({ ...minimal, ...change }))).toThrow(message);
});
