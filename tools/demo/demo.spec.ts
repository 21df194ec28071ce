import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ticks } from './charts.ts';
import { heldOutPairs, heldOutQuestions, preferencePairs } from './conversations.ts';
import { isRight, isWellFormed } from './judgement.ts';
import { writeData, writeTokenizer } from './material.ts';
import { recipe } from './recipe.ts';

const examples = resolve(import.meta.dirname, '../../examples');
const folder = mkdtempSync(join(tmpdir(), 'pairwise-demo-'));
afterAll(() => rmSync(folder, { recursive: true }));

const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

test('the scripts reproduce the committed data and tokenizer', async () => {
  await writeData(join(folder, 'data'));
  await writeTokenizer(join(folder, 'model'));
  for (const path of [
    'data/train.jsonl',
    'data/eval.jsonl',
    'data/questions.jsonl',
    'model/config.json',
    'model/tokenizer.json',
    'model/tokenizer_config.json',
  ]) {
    expect(sha256(join(folder, path)), path).toBe(sha256(join(examples, path)));
  }
});

test('no evaluation question is in the training data', () => {
  const { seed } = recipe;
  const trained = new Set(preferencePairs(1000, seed).map(({ question }) => question));
  expect(trained.size).toBe(1000);
  const asked = [...heldOutPairs(100, seed), ...heldOutQuestions(300, seed)].map(({ question }) => question);
  expect(asked.filter((question) => trained.has(question))).toEqual([]);
});

test('both answers of a pair state the fact, and one of them is short', () => {
  const words = (text: string) => text.split(' ').length;
  for (const { chosen, rejected } of preferencePairs(1000, recipe.seed)) {
    expect(isWellFormed({ text: chosen, tokenCount: 1, ended: true }), chosen).toBe(true);
    expect(isWellFormed({ text: rejected, tokenCount: 1, ended: true }), rejected).toBe(true);
    expect(words(chosen)).toBeLessThan(8);
    expect(words(rejected)).toBeGreaterThan(30);
    expect(rejected).toContain(chosen.slice('In short, '.length, -1));
  }
});

test('an answer is right if it names the value and no other value', () => {
  const asked = { relation: 'plant/dish', value: 'soup' } as const;
  expect(isRight('In short, soup.', asked)).toBe(true);
  expect(isRight('It is soup or jam.', asked)).toBe(false);
  expect(isRight('It is jam.', asked)).toBe(false);
  expect(isRight('', asked)).toBe(false);
  const month = { relation: 'plant/month', value: 'June' } as const;
  expect(isRight('It is June. You may look at it for yourself.', month)).toBe(true);
  expect(isRight('It is June or May.', month)).toBe(false);
});

test.each([
  ['In short, soup.', true, true],
  ['In short, soup.', false, false],
  ['In short, soup', true, false],
  ['in short, soup.', true, false],
  ['In short, soup soup.', true, false],
  ['In short, spaghetti.', true, false],
  ['', true, false],
])('%j, ended: %j, is well formed: %j', (text, ended, expected) => {
  expect(isWellFormed({ text, ended, tokenCount: 1 })).toBe(expected);
});

test('the ticks of an axis are round numbers within its range', () => {
  expect(ticks(0, 1)).toEqual([0, 0.25, 0.5, 0.75, 1]);
  expect(ticks(-120, 0)).toEqual([-100, -50, 0]);
  expect(ticks(3, 3)).toContain(3);
});
