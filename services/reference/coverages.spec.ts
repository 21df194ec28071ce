import type { Model } from '@pairwise/api';
import { expect, test } from 'vitest';
import { referenceFingerprint } from './coverages.ts';

const digest = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;
const files = (changes: Record<string, string | undefined> = {}): Model['files'] => {
  const digests: Record<string, string | undefined> = {
    'config.json': digest(1),
    'model-00001-of-00002.safetensors': digest(2),
    'model-00002-of-00002.safetensors': digest(3),
    'model.safetensors.index.json': digest(4),
    'tokenizer.json': digest(5),
    'README.md': digest(6),
    ...changes,
  };
  return Object.entries(digests).flatMap(([path, of]) =>
    of === undefined ? [] : [{ path, digest: of, sizeBytes: 1n }],
  );
};
const plain = referenceFingerprint(files(), 'cpu/x64/onnxruntime-1/float32');

test.each<[string, Record<string, string | undefined>]>([
  ['the config', { 'config.json': digest(9) }],
  ['a shard of the weights', { 'model-00002-of-00002.safetensors': digest(9) }],
  ['a shard more', { 'model.safetensors': digest(9) }],
  ['a shard less', { 'model-00002-of-00002.safetensors': undefined }],
  [
    'two shards with their contents swapped',
    {
      'model-00001-of-00002.safetensors': digest(3),
      'model-00002-of-00002.safetensors': digest(2),
    },
  ],
  // It says which of the files are read.
  ['the index of the shards', { 'model.safetensors.index.json': digest(9) }],
])('%s changes the reference', (_, changes) => {
  expect(referenceFingerprint(files(changes), 'cpu/x64/onnxruntime-1/float32')).not.toBe(plain);
});

test('another numerics profile is another reference', () => {
  expect(referenceFingerprint(files(), 'cuda/any/onnxruntime-1/float32')).not.toBe(plain);
});

test.each<[string, Record<string, string | undefined>]>([
  ['the tokenizer', { 'tokenizer.json': digest(9) }],
  ['what is no part of the model', { 'README.md': digest(9), LICENSE: digest(10) }],
])('%s does not: token ids are what is keyed', (_, changes) => {
  expect(referenceFingerprint(files(changes), 'cpu/x64/onnxruntime-1/float32')).toBe(plain);
});

test('nor does the order in which the files are listed, or their sizes', () => {
  const turned = files()
    .reverse()
    .map((file) => ({ ...file, sizeBytes: 7n }));
  expect(referenceFingerprint(turned, 'cpu/x64/onnxruntime-1/float32')).toBe(plain);
});
