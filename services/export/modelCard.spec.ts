import {
  Artifact,
  BaseQuantization,
  Checkpoint,
  DatasetVersion,
  Encoding,
  MetricPoint,
  Model,
  Training,
  TrainingSpec,
} from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { expect, test } from 'vitest';
import { lineageOf } from './lineage.ts';
import { modelCard } from './modelCard.ts';
import type { Peers } from './peers.ts';

const model = Model.fromPartial({
  name: 'projects/p/models/m-1',
  repoId: 'org/tiny',
  commit: '0123456789abcdef0123456789abcdef01234567',
  digest: 'sha256:base',
  architecture: 'LlamaForCausalLM',
  parameterCount: 26_848n,
  dtype: 'BF16',
});
const checkpoint = Checkpoint.fromPartial({
  name: 'projects/p/trainings/t-1/checkpoints/checkpoint-2',
  encoding: 'projects/p/datasets/d-1/versions/1/encodings/e-1',
  step: 2,
  adapterDigest: 'sha256:adapter',
});
const point = (step: number, values: Record<string, number>) => MetricPoint.fromPartial({ step, values });

/** The other services, which have a training of three steps. */
function peers(isDatasetDeleted = false, baseQuantization = BaseQuantization.UNSPECIFIED as BaseQuantization): Peers {
  const training = Training.fromPartial({
    name: 'projects/p/trainings/t-1',
    stepCount: 3,
    pairCount: 90,
    evalPairCount: 10,
    resolvedSpec: TrainingSpec.fromPartial({ beta: 0.2, baseQuantization }),
    numericsProfile: 'cpu-f32',
    engineVersion: '1',
  });
  async function* watchTraining() {
    for (const value of [
      point(0, { eval_loss: Math.LN2 }),
      point(1, { loss: Math.LN2, 'rewards/accuracies': 0 }),
      point(2, { loss: 0.5, 'rewards/accuracies': 0.75 }),
      point(2, { eval_loss: 0.61 }),
      point(3, { loss: 0.1 }),
    ])
      yield await Promise.resolve({ payload: { $case: 'metrics', value }, sequence: 0n });
    yield { payload: { $case: 'training', value: training }, sequence: 0n };
  }
  const refused = [{ reason: 'TOO_LONG', count: 2, firstLines: [], firstProblem: '' }];
  const version = DatasetVersion.fromPartial({ digest: 'sha256:pairs', pairCount: 102, report: { refusedCount: 0 } });
  const encoding = Encoding.fromPartial({ pairCount: 100, report: { refusedCount: 2, refused } });
  const deleted = new PairwiseError('NOT_FOUND', 'it was deleted');
  const found = <T>(value: T) => (isDatasetDeleted ? Promise.reject(deleted) : Promise.resolve(value));
  return {
    dataset: { getEncoding: () => found({ encoding }), getDatasetVersion: () => found({ version }) },
    training: { watchTraining },
  } as unknown as Peers;
}

test('a card says what the adapter was made from, and what the training up to its checkpoint measured', async () => {
  const card = modelCard(
    { format: 'adapter' },
    model,
    await lineageOf(peers(), checkpoint, new AbortController().signal),
  );
  expect(card.split('\n').slice(0, 9)).toEqual([
    '---',
    'base_model: "org/tiny"',
    'library_name: peft',
    'pipeline_tag: text-generation',
    'tags:',
    '- dpo',
    '- lora',
    '---',
    '',
  ]);
  for (const line of [
    '- name: `org/tiny`, commit `0123456789abcdef0123456789abcdef01234567`',
    '- preference pairs: 102, digest `sha256:pairs`',
    '- pairs encoded: 100; left out: 2 (2 TOO_LONG)',
    '- used for training: 90; for evaluation: 10',
    'Direct Preference Optimization of a LoRA adapter, 2 of 3 steps.',
    '  "beta": 0.2',
    '| loss | 0.693147 | 0.5 |',
    '| eval_loss | 0.693147 | 0.61 |',
    '| rewards/accuracies | 0 | 0.75 |',
  ])
    expect(card.split('\n').map((each) => each.replace(/,$/, ''))).toContain(line);
  // Names of the server differ between equal runs.
  expect(card).not.toMatch(/projects\/|t-1|e-1|m-1/);
});

test('a card names the quantisation of the base model in training, if there was one', async () => {
  const { NONE, UNSPECIFIED, NF4 } = BaseQuantization;
  const card = async (type: BaseQuantization) =>
    modelCard(
      { format: 'adapter' },
      model,
      await lineageOf(peers(false, type), checkpoint, new AbortController().signal),
    );
  expect((await card(NF4)).split('\n')).toContain(
    '- in training its linear layers were quantised to `NF4`; the adapter is applied to its full weights',
  );
  for (const type of [NONE, UNSPECIFIED]) expect(await card(type)).not.toContain('quantised');
});

test('the adapter of a deleted dataset has a card without it', async () => {
  const card = modelCard(
    { format: 'merged' },
    model,
    await lineageOf(peers(true), checkpoint, new AbortController().signal),
  );
  expect(card).toContain('library_name: transformers');
  expect(card).toContain('| loss | 0.693147 | 0.5 |');
  expect(card).not.toContain('preference pairs');
});

test('a local base model is named without a link, and without a training there is no section about it', () => {
  const source = { source: { $case: 'uri' as const, value: 'file:///models/my-model' } };
  const card = modelCard({ format: 'merged' }, Model.create({ ...model, repoId: '', commit: '', source }), undefined);
  expect(card).not.toContain('base_model');
  expect(card).toContain('# my-model\n');
  expect(card).not.toContain('## Training');
});

test('the card of a verified artifact has the figures, the caveats and the answers', () => {
  const verification = {
    maxAbsLogpDiff: 0.31,
    meanAbsLogpDiff: 0.0123456,
    sequenceCount: 16,
    tokenCount: 800,
    textCount: 40,
    tolerance: 0.0061,
    quantizationCost: {
      policy: { klDivergence: 0.003, top1Agreement: 0.975, meanAbsLogpDiff: 0.0123456, margin: 1.5, accuracy: 0.9 },
      base: { klDivergence: 0.0034, top1Agreement: 0.97, meanAbsLogpDiff: 0.02, margin: -0.1, accuracy: 0.4 },
      margin: 1.6,
      accuracy: 1,
    },
  };
  const quantized = Artifact.fromPartial({
    format: 'gguf',
    type: 'Q8_0',
    verification,
    caveats: ['llama.cpp does it so'],
    samples: [{ prompt: 'Why?', base: '# No', tuned: '```\nyes' }],
  });
  const lines = modelCard(quantized, model, undefined).split('\n');
  for (const line of [
    'library_name: gguf',
    '- responses: 16, with 800 tokens; texts read with the ids of training: 40',
    "- difference of a token's log probability in nats: mean 0.0123, largest 0.31",
    '- KL divergence from the file before quantising: 0.003 nats per token; at most 0.0061 is allowed',
    '| this one | 0.003 | 0.975 | 0.0123 | 1.5 | 0.9 |',
    '| base model, quantised alike | 0.0034 | 0.97 | 0.02 | -0.1 | 0.4 |',
    '| before quantising |  |  |  | 1.6 | 1 |',
    '- llama.cpp does it so',
    '    base model  "# No"',
    '    tuned       "```\\nyes"',
  ])
    expect(lines).toContain(line);
  const exact = { ...verification, quantizationCost: undefined };
  const card = modelCard(Artifact.fromPartial({ format: 'gguf', type: 'F16', verification: exact }), model, undefined);
  expect(card).toContain('largest 0.31; at most 0.0061 is allowed');
  expect(card).not.toContain('KL divergence');
});
