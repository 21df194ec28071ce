import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunSpec, RunState } from '@pairwise/api';
import { errorOf } from '@pairwise/rpc';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { endlessOnLongTexts } from '@pairwise/tokenizer/testing';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';
import { writeTinyModel } from '@pairwise/testing';

const { folder, remove } = temporaryFolder();
let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform(folder);
});
afterAll(async () => {
  await platform.stop();
  remove();
});

test('a run whose pairs crash the tokenizer of its model fails at once and reports why', async () => {
  writeTinyModel(join(folder, 'model'));
  const path = join(folder, 'model/tokenizer.json');
  const tokenizer = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...tokenizer, ...endlessOnLongTexts }));
  const pair = { prompt: 'why? '.repeat(10), chosen: ' yes', rejected: ' no' };
  const datasetVersion = await platform.importDataset('pairs', Buffer.from(JSON.stringify(pair)));
  const spec = RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${folder}/model` } },
    datasetVersion,
    // It has no GGUF form, so a run with a GGUF target is refused before it starts.
    exportTargets: [{ format: { $case: 'adapter', value: {} } }],
  });
  const { name } = await platform.createRun('hostile', spec);
  const run = await platform.untilEnded(name);
  expect(run.state).toBe(RunState.FAILED);
  expect(errorOf(run.error)).toMatchObject({ reason: 'INVALID_MODEL', field: 'tokenizer.json' });
  expect(run.error!.message).toContain('retry-limit-in-match over');
});
