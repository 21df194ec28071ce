import type { Model } from '@pairwise/api';
import { fingerprintOf } from '@pairwise/fingerprint';
import { engineVersion } from '@pairwise/training';
import { expect, test } from 'vitest';
import { referenceFingerprint } from './fingerprint.ts';

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
  ['a weight file', { 'model-00002-of-00002.safetensors': digest(9) }],
  ['an added weight file', { 'model.safetensors': digest(9) }],
  ['a removed weight file', { 'model-00002-of-00002.safetensors': undefined }],
  [
    'two weight files with their contents swapped',
    {
      'model-00001-of-00002.safetensors': digest(3),
      'model-00002-of-00002.safetensors': digest(2),
    },
  ],
  // The index says which of the files are read.
  ['the index of the weight files', { 'model.safetensors.index.json': digest(9) }],
])('%s changes the reference', (_, changes) => {
  expect(referenceFingerprint(files(changes), 'cpu/x64/onnxruntime-1/float32')).not.toBe(plain);
});

test('another numerics profile changes the reference', () => {
  expect(referenceFingerprint(files(), 'cuda/any/onnxruntime-1/float32')).not.toBe(plain);
});

test('a quantisation changes the reference, and so does another one', () => {
  const quantized = (n: number) =>
    referenceFingerprint(files(), 'cpu/x64/onnxruntime-1/float32', { digest: digest(n) });
  expect(new Set([plain, quantized(7), quantized(8)]).size).toBe(3);
});

test('without a quantisation the reference is the one under which logps have always been stored', () => {
  const names = ['config.json', 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const entries = [...names, 'model.safetensors.index.json'].map((path, index) => [path, digest(index + 1)]);
  const numericsProfile = 'cpu/x64/onnxruntime-1/float32';
  expect(plain).toBe(fingerprintOf({ kind: 'reference', files: entries, engineVersion, numericsProfile }));
});

test.each<[string, Record<string, string | undefined>]>([
  ['the tokenizer', { 'tokenizer.json': digest(9) }],
  ['a file that is not part of the model', { 'README.md': digest(9), LICENSE: digest(10) }],
])('%s does not change the reference, since logps are keyed by token ids', (_, changes) => {
  expect(referenceFingerprint(files(changes), 'cpu/x64/onnxruntime-1/float32')).toBe(plain);
});

test('the order and the sizes of the files do not change the reference', () => {
  const turned = files()
    .reverse()
    .map((file) => ({ ...file, sizeBytes: 7n }));
  expect(referenceFingerprint(turned, 'cpu/x64/onnxruntime-1/float32')).toBe(plain);
});
