import { RunSpec } from '@pairwise/api';
import { expect, test } from 'vitest';
import { resolveSpec } from './spec.ts';

const least = {
  model: { source: { $case: 'uri' as const, value: 'file:///models/tiny' } },
  datasetVersion: 'projects/default/datasets/concise/versions/1',
};

test('defaults are filled in, and resolving again changes nothing', () => {
  const resolved = resolveSpec(RunSpec.create(least));
  expect(resolved.exportTargets.map(({ name }) => name)).toEqual(['adapter', 'gguf-f16']);
  expect(resolved.training).toMatchObject({ beta: 0.1, batchSize: 8, truncationMode: 'TRUNCATION_MODE_REFUSE' });
  expect(resolveSpec(resolved)).toEqual(resolved);
  expect(resolveSpec(RunSpec.decode(RunSpec.encode(resolved).finish()))).toEqual(resolved);
});

test.each<[string, Parameters<typeof RunSpec.fromPartial>[0]]>([
  ['spec.model is not set', { model: undefined }],
  [
    "spec.model.hub.repo_id is 'gpt2'; it must be organisation/name",
    { model: { source: { $case: 'hub', value: { repoId: 'gpt2' } } } },
  ],
  ["spec.dataset_version is 'concise'", { datasetVersion: 'concise' }],
  ['spec.eval_fraction is 1', { evaluation: { $case: 'evalFraction', value: 1 } }],
  ['spec.training.beta is -1', { training: { beta: -1 } }],
  [
    "spec.export_targets[0].gguf.type is 'Q2_K'",
    { exportTargets: [{ format: { $case: 'gguf', value: { type: 'Q2_K' } } }] },
  ],
  ['spec.export_targets[0] has no format', { exportTargets: [{ name: 'x' }] }],
  [
    "spec.export_targets[1].name is 'adapter', like an earlier",
    {
      exportTargets: [{ format: { $case: 'adapter', value: {} } }, { format: { $case: 'adapter', value: {} } }],
    },
  ],
  [
    "spec.export_targets[0].name is '../x'",
    { exportTargets: [{ name: '../x', format: { $case: 'adapter', value: {} } }] },
  ],
])('%s', (message, change) => {
  expect(() => resolveSpec(RunSpec.fromPartial({ ...least, ...change }))).toThrow(message);
});
