import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunSpec, type Run, type RunEvent } from '@pairwise/api';
import type { Digest } from '@pairwise/fingerprint';
import { parseGguf, type GgufHeader } from '@pairwise/gguf';
import { unpackPairs, type EncodedPair } from '@pairwise/preference';
import { openFolder } from '@pairwise/store';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';

// A model whose tokenizer adds a BOS, while its chat template writes none and ends turns with a token other than the EOS.

const { folder, remove } = temporaryFolder();
const endOfTurn = '<|end|>';
const endOfTurnId = 258;
const template =
  `{% for m in messages %}[{{ m.role }}]{{ m.content }}${endOfTurn}{% endfor %}` +
  '{% if add_generation_prompt %}[assistant]{% endif %}';
const longPair = { prompt: 'Why?', chosen: 'a'.repeat(600), rejected: 'No.' };

let platform: TestPlatform;
let run: Run;
const events: RunEvent[] = [];

beforeAll(async () => {
  const model = join(folder, 'model');
  writeTinyModel(model, 'chat', [endOfTurn]);
  writeFileSync(join(model, 'chat_template.jinja'), template);
  writeFileSync(join(model, 'generation_config.json'), JSON.stringify({ eos_token_id: [257, endOfTurnId] }));
  platform = await startTestPlatform(folder);
  const pairs = Buffer.from(`${tinyPairs(24)}${JSON.stringify(longPair)}\n`);
  const spec = RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${model}` } },
    datasetVersion: await platform.importDataset('pairs', pairs),
    training: { duration: { $case: 'maxSteps', value: 2 }, batchSize: 8, tuning: { $case: 'lora', value: { r: 4 } } },
    exportTargets: [{ format: { $case: 'gguf', value: { type: 'F16' } } }],
  });
  const { name } = await platform.createRun('chat', spec);
  run = await platform.untilEnded(name, ({ payload }) => {
    if (payload?.$case === 'event') events.push(payload.value);
  });
});

afterAll(async () => {
  await platform.stop();
  remove();
});

async function encodedPairs(): Promise<EncodedPair[]> {
  const { encoding } = await platform.dataset.getEncoding({ name: run.outputs!.encoding });
  const blobs = await openFolder(join(folder, 'data', 'blobs'));
  const shards = await Promise.all(encoding!.shardDigests.map((digest) => blobs.get(digest as Digest)));
  return shards.flatMap((shard) => unpackPairs(shard));
}

async function exportedHeader(): Promise<GgufHeader> {
  const [artifact] = run.outputs!.artifacts;
  const { path } = artifact!.files.find((file) => file.path.endsWith('.gguf'))!;
  const chunks: Uint8Array[] = [];
  for await (const { chunk } of platform.export.downloadArtifact({ name: artifact!.name, path, offsetBytes: 0n })) {
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  return parseGguf(bytes, BigInt(bytes.length)) as GgufHeader;
}

test('conversations begin and end in training as the exported file says they do', async () => {
  expect(run.error).toBeUndefined();
  const { metadata } = await exportedHeader();
  const value = (key: string) => metadata.get(`tokenizer.ggml.${key}`)?.value;
  expect([value('bos_token_id'), value('eos_token_id')]).toEqual([256, 257]);
  const pairs = await encodedPairs();
  expect(pairs).toHaveLength(24);
  expect(value('add_bos_token')).toBe(false);
  expect(new Set(pairs.map(({ prompt }) => prompt[0]))).toEqual(new Set(['['.codePointAt(0)]));
  expect(value('eot_token_id')).toBe(endOfTurnId);
  const ends = pairs.flatMap(({ chosen, rejected }) => [chosen.at(-1), rejected.at(-1)]);
  expect(new Set(ends)).toEqual(new Set([endOfTurnId]));
});

test('the run reports how many pairs became conversations, and which were left out', () => {
  expect(run.outputs!.pairs).toMatchObject({ encodedCount: 24, conversationCount: 24, leftOutCount: 1 });
  expect(run.outputs!.pairs!.leftOut).toMatchObject([{ reason: 'TOO_LONG', count: 1 }]);
  expect(run.outputs!.pairs!.leftOut[0]!.firstProblem).toMatch(/have \d+ tokens, but the limit is 512/);
  expect(run.outputs!.pairs!.remedy).toContain('truncation_mode');
  expect(run.stages[0]!.progress).toMatchObject({ completedCount: 25n, totalCount: 25n });
  const [warning] = events.filter((event) => event.warning);
  expect(warning).toMatchObject({ type: 'pairs.left_out', stage: 'validate' });
  expect(warning!.message).toContain('1 of 25 training pairs is left out');
});
