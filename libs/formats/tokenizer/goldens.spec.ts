import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { pairOfRow, RowError } from '@pairwise/preference';
import { expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { openTokenizer } from './index.ts';

const shared = sharedFolder();
const golden = shared === undefined ? test.skip : test;

interface GoldenPair {
  index?: number;
  row?: number;
  prompt_ids: number[];
  chosen_ids: number[];
  rejected_ids: number[];
}

function openModel(name: string) {
  const text = (file: string) => readFileSync(join(shared!, 'models', name, file), 'utf8');
  return openTokenizer({
    tokenizerJson: text('tokenizer.json'),
    tokenizerConfig: text('tokenizer_config.json'),
    generationConfig: text('generation_config.json'),
    config: text('config.json'),
  });
}

/** The pair of a line; none where a response is empty, which the reference implementation trains on. */
function readPair(line: string) {
  try {
    return pairOfRow(JSON.parse(line));
  } catch (error) {
    if (error instanceof RowError && error.refusal === 'EMPTY_RESPONSE') return undefined;
    throw error;
  }
}

async function compare(model: string, goldens: string, lines: string[], limit: number) {
  await using tokenizer = await openModel(model);
  const { pairs } = JSON.parse(readFileSync(join(shared!, 'goldens', goldens), 'utf8')) as { pairs: GoldenPair[] };
  const limits = { maxLength: limit, truncationMode: 'KEEP_START', chatTemplate: 'NONE' } as const;
  let compared = 0;
  for (const pair of pairs) {
    const row = readPair(lines[pair.index ?? pair.row!]!);
    if (row === undefined) continue;
    compared += 1;
    const encoded = await tokenizer.encodePair(row, limits);
    expect([...encoded.prompt]).toEqual(pair.prompt_ids);
    expect([...encoded.chosen]).toEqual(pair.chosen_ids);
    expect([...encoded.rejected]).toEqual(pair.rejected_ids);
  }
  return compared;
}

golden('token ids of pairs are those of the reference implementation', async () => {
  const lines = readFileSync(join(shared!, 'data/concise-stories/train.jsonl'), 'utf8').split('\n');
  expect(await compare('stories260K-eos1', 'ids_first64.json', lines, 4096)).toBe(64);
});

golden('token ids of truncated dialogues are those of the reference implementation', async () => {
  const file = readFileSync(join(shared!, 'data/hh-rlhf/harmless-base.first1500.jsonl.gz'));
  const lines = gunzipSync(file).toString().split('\n');
  expect(await compare('stories260K', 'f_hh_first100.json', lines, 256)).toBe(99);
});
