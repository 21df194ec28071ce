import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RunSpec, TruncationMode } from '@pairwise/api';
import { CommanderError } from 'commander';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { applySetting } from './set.ts';
import { parseSpec, readSpec } from './read.ts';

let folder = '';
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'spec-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const project = 'projects/default';
const write = (text: string) => {
  const path = join(folder, 'run.yaml');
  writeFileSync(path, text);
  return path;
};

/** The message of the usage error. */
function refusal(refused: () => unknown): string {
  try {
    refused();
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 2) return error.message;
    throw error;
  }
  throw new Error('the spec was accepted');
}
const refusalOf = (yaml: string) => refusal(() => parseSpec(yaml, 'run.yaml'));

describe('reading', () => {
  const yaml = `
model: { uri: ./base }
dataset_version: concise/2
evalFraction: 0.1
training:
  beta: 0.2
  learningRate: 1e-5
  max_steps: 40
  truncation_mode: keep_end
  losses: [{ type: sigmoid }]
  lora: { r: 8, target_modules: [q_proj, v_proj], use_rslora: true }
export_targets:
  - name: small
    gguf: { type: Q4_K_M }
  - adapter:
`;

  test('snake_case and camelCase are equivalent; short names and paths are expanded', async () => {
    const spec = await readSpec(write(yaml), [], project);
    expect(spec).toMatchObject({
      model: { source: { $case: 'uri', value: `file://${folder}/base` } },
      datasetVersion: 'projects/default/datasets/concise/versions/2',
      evaluation: { $case: 'evalFraction', value: 0.1 },
      training: {
        beta: 0.2,
        learningRate: 1e-5,
        duration: { $case: 'maxSteps', value: 40 },
        truncationMode: TruncationMode.KEEP_END,
        losses: [{ type: 'sigmoid' }],
        tuning: { $case: 'lora', value: { r: 8, targetModules: ['q_proj', 'v_proj'], useRslora: true } },
      },
      exportTargets: [
        { name: 'small', format: { $case: 'gguf', value: { type: 'Q4_K_M' } } },
        { format: { $case: 'adapter' } },
      ],
    });
  });

  test('a spec printed by the server is read unchanged', async () => {
    const spec = await readSpec(write(yaml), [], project);
    const shown = write(JSON.stringify(RunSpec.toJSON(spec)));
    expect(await readSpec(shown, [], project)).toEqual(spec);
  });

  test('settings override the file, with paths from the working folder', async () => {
    const settings = ['beta=0.05', 'training.lora.r=4', 'model.uri=other', 'export_targets.0.gguf.type=F16'];
    const spec = await readSpec(write(yaml), [...settings, 'export_targets[2].merged.dtype=BF16'], project);
    expect(spec.model?.source).toEqual({ $case: 'uri', value: `file://${process.cwd()}/other` });
    expect(spec.training).toMatchObject({
      beta: 0.05,
      learningRate: 1e-5,
      tuning: { value: { r: 4, useRslora: true } },
    });
    expect(spec.exportTargets.map(({ format }) => format?.value)).toMatchObject([
      { type: 'F16' },
      {},
      { dtype: 'BF16' },
    ]);
  });

  test('a setting replaces the other fields of its oneof', async () => {
    const settings = ['num_train_epochs=2', 'model.hub.repo_id=a/b', 'eval_dataset_version=held-out/1'];
    const spec = await readSpec(write(yaml), settings, project);
    expect(spec.training?.duration).toEqual({ $case: 'numTrainEpochs', value: 2 });
    expect(spec.model?.source).toMatchObject({ $case: 'hub', value: { repoId: 'a/b' } });
    expect(spec.evaluation).toEqual({
      $case: 'evalDatasetVersion',
      value: 'projects/default/datasets/held-out/versions/1',
    });
  });

  test('settings without a file, and an empty file', async () => {
    expect((await readSpec(undefined, ['seed=7'], project)).training?.seed).toBe(7);
    expect(RunSpec.toJSON(await readSpec(write(''), [], project))).toEqual({});
  });
});

describe('refusing', () => {
  test.each([
    ['training: { betta: 0.1 }', "run.yaml:1: spec.training.betta is unknown; did you mean 'beta'?"],
    [
      'training:\n  lora:\n    target_module: [q_proj]',
      "run.yaml:3: spec.training.lora.target_module is unknown; did you mean 'target_modules'?",
    ],
    ['training: { lr: 1e-5 }', 'spec.training.lr is unknown; known fields are learning_rate, '],
    ['beta: 0.1', 'run.yaml:1: spec.beta is unknown; it belongs to spec.training'],
    ['training: { lora: { LearningRate: 1 } }', 'spec.training.lora.LearningRate is unknown'],
    ['training: { r: 8 }', 'spec.training.r is unknown; it belongs to spec.training.lora'],
    ['training: { beta: "0.1" }', "spec.training.beta is the text '0.1'; it must be a number"],
    ['training: { beta: .nan }', 'spec.training.beta is NaN; it must be a number'],
    ['training: { batch_size: 8.5 }', 'spec.training.batch_size is 8.5; it must be a whole number'],
    ['training: { seed: 1e12 }', 'spec.training.seed is 1000000000000; it must be a whole number'],
    ['training: { lora: { use_rslora: yes } }', "is the text 'yes'; it must be true or false"],
    ['dataset_version: 3', 'spec.dataset_version is 3; it must be text; put it in quotes'],
    ['training: { beta: }', 'spec.training.beta is empty; it must be a number'],
    ['training: { lora: { target_modules: all-linear } }', 'it must be a list, such as [all-linear]'],
    ['training: [1]', 'spec.training is a list; it must be a mapping of learning_rate, '],
    ['[]', 'run.yaml:1: spec is a list; it must be a mapping of model, dataset_version, '],
    [
      'training: { truncation_mode: KEEP_STRT }',
      'it must be one of REFUSE, KEEP_START, KEEP_END; did you mean KEEP_START?',
    ],
    [
      'training: { max_steps: 3, num_train_epochs: 1 }',
      'spec.training.num_train_epochs excludes max_steps; keep one of them',
    ],
    ['training: { batch_size: 3, batchSize: 4 }', 'spec.training.batchSize is given twice'],
    [
      'export_targets:\n  - name: a\n  - gguff: {}',
      "run.yaml:3: spec.export_targets[1].gguff is unknown; did you mean 'gguf'?",
    ],
    ['training: { beta: 1, beta: 2 }', 'Map keys must be unique'],
    ['model: [', 'run.yaml: '],
  ])('%s', (yaml, message) => expect(refusalOf(yaml)).toContain(message));

  test('all problems are reported at once, each with its line', () => {
    const lines = refusalOf('modle: {}\ntraining:\n  beta: x\n  epochs: 3').split('\n');
    expect(lines.map((line) => line.split(': ')[0])).toEqual(['run.yaml:1', 'run.yaml:3', 'run.yaml:4']);
  });

  test.each([
    ['beta', "--set 'beta': it must be <field>=<value>"],
    ['betta=1', 'spec.betta is unknown'],
    ['bta=1', 'spec.bta is unknown; did you mean spec.training.beta?'],
    ['lr=1', 'spec.lr is unknown; known fields are model, '],
    ['training.betta=1', "spec.training.betta is unknown; did you mean 'beta'?"],
    ['beta=high', "spec.training.beta is the text 'high'; it must be a number"],
    ['beta.x=1', "spec.training.beta has no field 'x'"],
    ['export_targets.1.name=a', "spec.export_targets has 0 elements; '1' is not a valid position"],
    ['training.lora.r=[', '--set'],
  ])('--set %s', (setting, message) => expect(refusal(() => applySetting({}, setting))).toContain(message));

  test('a missing file', async () => {
    await expect(readSpec(join(folder, 'none.yaml'), [], project)).rejects.toThrow(/--file: ENOENT/);
  });
});
