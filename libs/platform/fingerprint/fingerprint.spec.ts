import { expect, test } from 'vitest';
import {
  digestOfFiles,
  canonicalJson,
  digestOf,
  fingerprintOf,
  isDigest,
  parseDigest,
  digestBytes,
  digestFromBytes,
  digestOfStream,
  hexOf,
} from './index.ts';

test('a digest is the sha256 of the bytes', () => {
  expect(digestOf(Buffer.from('abc'))).toBe('sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(isDigest(digestOf(Buffer.from('')))).toBe(true);
  expect(isDigest('sha256:../../etc/passwd')).toBe(false);
  expect(parseDigest(digestOf(Buffer.from('')))).toBe(digestOf(Buffer.from('')));
  expect(() => parseDigest('sha256:../../etc/passwd')).toThrow('is not a digest');
});

test('the order of keys and absent properties do not matter, values do', () => {
  const recipe = { b: 1, a: ['x', null, true], big: 5n };
  expect(canonicalJson(recipe)).toBe('{"a":["x",null,true],"b":1,"big":"5n"}');
  expect(fingerprintOf(recipe)).toBe(fingerprintOf({ big: 5n, a: ['x', null, true], b: 1, c: undefined }));
  expect(fingerprintOf(recipe)).not.toBe(fingerprintOf({ ...recipe, b: 1.0000000001 }));
  expect(fingerprintOf({ a: ['x', 'y'] })).not.toBe(fingerprintOf({ a: ['xy'] }));
});

test('numbers that JSON cannot express are refused', () => {
  expect(() => fingerprintOf({ loss: NaN })).toThrow('a recipe cannot hold NaN');
});

test('the digest of files depends on their paths and digests, not on the order of the list', () => {
  const [a, b] = [
    { path: 'a', digest: 'sha256:1' },
    { path: 'b/c', digest: 'sha256:2' },
  ];
  const digest = digestOfFiles([a, b]);
  expect(digestOfFiles([b, a])).toBe(digest);
  expect(digestOfFiles([a])).not.toBe(digest);
  expect(digestOfFiles([a, { ...b, path: 'b' }])).not.toBe(digest);
  expect(digestOfFiles([a, { ...b, digest: 'sha256:3' }])).not.toBe(digest);
});

test('a digest converts to hex digits and bytes and back, and a stream has the same digest as its bytes', async () => {
  const digest = digestOf(Buffer.from('abc'));
  expect(hexOf(digest)).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(digestFromBytes(digestBytes(digest))).toBe(digest);
  const pieces = async function* () {
    yield await Promise.resolve(Buffer.from('a'));
    yield Buffer.from('bc');
  };
  expect(await digestOfStream(pieces())).toBe(digest);
});
