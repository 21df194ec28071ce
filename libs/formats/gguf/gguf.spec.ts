import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { afterAll, describe, expect, test } from 'vitest';
import {
  bool,
  f32,
  f32Array,
  ggufSize,
  i32Array,
  parseGguf,
  readGguf,
  tensorTypes,
  text,
  textArray,
  u32,
  writeGguf,
} from './index.ts';
import type { GgufValue, TensorToWrite } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'pairwise-gguf-'));
afterAll(() => rmSync(folder, { recursive: true }));

const metadata = new Map<string, GgufValue>([
  ['general.architecture', text('llama')],
  ['general.name', text('Zwölf Bären 🐻')],
  ['llama.block_count', u32(4_000_000_000)],
  ['llama.rope.freq_base', f32(10000)],
  ['tokenizer.ggml.add_bos_token', bool(true)],
  ['tokenizer.ggml.tokens', textArray(['<unk>', '▁', '\n', ''])],
  ['tokenizer.ggml.scores', f32Array([-1, 0.5, -1000, 0])],
  ['tokenizer.ggml.token_type', i32Array([2, 1, -6, 3])],
  ['a.uint64', { type: 'uint64', value: 2n ** 63n + 1n }],
  ['a.int64', { type: 'int64', value: -(2n ** 62n) }],
  ['a.float64', { type: 'float64', value: Math.PI }],
  ['a.int8', { type: 'int8', value: -3 }],
  ['a.uint8', { type: 'uint8', value: 250 }],
  ['a.int16', { type: 'int16', value: -30000 }],
  ['a.uint16', { type: 'uint16', value: 60000 }],
]);

function bytesOf(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => (index * 7 + 1) % 251);
}

function sample(): TensorToWrite[] {
  return [
    { name: 'f32', dims: [3, 5], type: 'F32', data: () => Promise.resolve(bytesOf(60)) },
    { name: 'f16', dims: [7], type: 'F16', data: () => inPieces(bytesOf(14)) },
    { name: 'bf16', dims: [2, 3, 4], type: 'BF16', data: () => inPieces(bytesOf(48)) },
    { name: 'q8', dims: [64, 2], type: 'Q8_0', data: () => Promise.resolve(bytesOf(136)) },
    { name: 'q4k', dims: [256, 2], type: 'Q4_K', data: () => Promise.resolve(bytesOf(288)) },
  ];
}

async function* inPieces(bytes: Uint8Array) {
  for (let start = 0; start < bytes.length; start += 5) yield await Promise.resolve(bytes.subarray(start, start + 5));
}

async function fileOf(tensors: readonly TensorToWrite[], pairs = metadata): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeGguf({ metadata: pairs, tensors })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function readerOf(file: Uint8Array) {
  return {
    sizeBytes: BigInt(file.length),
    read: (offset: bigint, length: number) => Promise.resolve(file.subarray(Number(offset), Number(offset) + length)),
  };
}

describe('writer and reader', () => {
  test('metadata of every type, tensors and their bytes are read back as they were written', async () => {
    const file = await fileOf(sample());
    const header = await readGguf(readerOf(file));
    expect(header.version).toBe(3);
    expect([...header.metadata.keys()]).toEqual([...metadata.keys()]);
    expect(header.metadata).toEqual(metadata);
    expect(header.tensors.map(({ name, dims, type }) => ({ name, dims: dims.map(Number), type }))).toEqual(
      sample().map(({ name, dims, type }) => ({ name, dims, type })),
    );
    for (const { offset, sizeBytes, name } of header.tensors) {
      expect(offset % 32n, name).toBe(0n);
      const stored = file.subarray(Number(offset), Number(offset + sizeBytes));
      expect(Buffer.compare(stored, bytesOf(Number(sizeBytes))), name).toBe(0);
    }
    expect(file.length).toBe(ggufSize({ metadata, tensors: sample() }));
    expect(file.length % 32).toBe(0);
  });

  test('an independent reader reads the same', async () => {
    const path = join(folder, 'sample.gguf');
    const file = await fileOf(sample());
    writeFileSync(path, file);
    const seen = await gguf(path, { allowLocalFile: true });
    const ours = await readGguf(readerOf(file));
    const theirs = new Map<string, unknown>(Object.entries(seen.metadata));
    for (const [key, { value }] of ours.metadata) expect(theirs.get(key), key).toEqual(value);
    expect(theirs.get('version')).toBe(3);
    expect(seen.tensorInfos.map(({ name, shape, dtype, offset }) => ({ name, shape, dtype, offset }))).toEqual(
      ours.tensors.map(({ name, dims, type, offset }) => ({
        name,
        shape: dims,
        dtype: tensorTypes[type].id,
        offset: offset - ours.dataOffset,
      })),
    );
    expect(seen.tensorDataOffset).toBe(ours.dataOffset);
  });

  test('a long header is read in growing pieces', async () => {
    const tokens = Array.from({ length: 90_000 }, (_, index) => `token number ${index}`);
    const file = await fileOf(sample(), new Map([['tokenizer.ggml.tokens', textArray(tokens)]]));
    const header = await readGguf(readerOf(file));
    expect(header.metadata.get('tokenizer.ggml.tokens')?.value).toEqual(tokens);
  });

  test('data of another length than declared is an error', async () => {
    const short: TensorToWrite = { name: 'x', dims: [8], type: 'F32', data: () => Promise.resolve(bytesOf(31)) };
    await expect(fileOf([short])).rejects.toMatchObject({ reason: 'INTERNAL' });
  });

  test('rows that are not a whole number of blocks are refused', async () => {
    const odd: TensorToWrite = { name: 'x', dims: [172, 2], type: 'Q4_K', data: () => Promise.resolve(bytesOf(0)) };
    await expect(fileOf([odd])).rejects.toMatchObject({ reason: 'WRONG_SHAPE' });
  });
});

describe('hostile files', () => {
  const header = (counts: bigint[], rest: readonly (number | bigint | string)[] = []) => {
    const parts: Uint8Array[] = [Buffer.from('GGUF'), u32Bytes(3), ...counts.map(u64Bytes)];
    for (const part of rest) {
      if (typeof part === 'number') parts.push(u32Bytes(part));
      else if (typeof part === 'bigint') parts.push(u64Bytes(part));
      else parts.push(u64Bytes(BigInt(Buffer.byteLength(part))), Buffer.from(part));
    }
    return Buffer.concat([...parts, new Uint8Array(64)]);
  };
  const u32Bytes = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
  const u64Bytes = (value: bigint) => new Uint8Array(new BigUint64Array([value]).buffer);
  const huge = 2n ** 63n;
  const tensor = (name: string, dims: bigint[], type: number, offset: bigint) => [
    name,
    dims.length,
    ...dims,
    type,
    offset,
  ];

  test.each([
    ['not GGUF', Buffer.from('PK\x03\x04 and then some more bytes')],
    ['empty', Buffer.alloc(0)],
    ['cut inside the counts', Buffer.from('GGUF\x03\x00\x00\x00\x01')],
    ['a huge tensor count', header([huge, 0n])],
    ['a huge metadata count', header([0n, huge])],
    ['a count larger than the file', header([0n, 60000n])],
    ['a key of 2^63 bytes', header([0n, 1n], [huge])],
    ['a string of 2^63 bytes', header([0n, 1n], ['key', 8, huge])],
    ['a string longer than the file', header([0n, 1n], ['key', 8, 2000n])],
    ['an array of 2^60 elements', header([0n, 1n], ['key', 9, 4, 2n ** 60n])],
    ['an array of arrays', header([0n, 1n], ['key', 9, 9, 1n])],
    ['an unknown value type', header([0n, 1n], ['key', 77])],
    ['a key twice', header([0n, 2n], ['key', 4, 1, 'key', 4, 2])],
    ['a zero alignment', header([0n, 1n], ['general.alignment', 4, 0])],
    ['an alignment of 24', header([0n, 1n], ['general.alignment', 4, 24])],
    ['five dimensions', header([1n, 0n], tensor('t', [1n, 1n, 1n, 1n, 1n], 0, 0n))],
    ['a zero dimension', header([1n, 0n], tensor('t', [0n], 0, 0n))],
    ['dimensions whose product overflows 64 bits', header([1n, 0n], tensor('t', [2n ** 40n, 2n ** 40n], 0, 0n))],
    ['data past the end', header([1n, 0n], tensor('t', [1000n], 0, 0n))],
    ['an offset past the end', header([1n, 0n], tensor('t', [1n], 0, 2n ** 62n))],
    ['an unaligned offset', header([1n, 0n], tensor('t', [1n], 0, 4n))],
    ['overlapping tensors', header([2n, 0n], [...tensor('a', [2n], 0, 0n), ...tensor('b', [2n], 0, 0n)])],
    ['a tensor twice', header([2n, 0n], [...tensor('a', [1n], 0, 0n), ...tensor('a', [1n], 0, 32n)])],
  ])('%s is refused', async (_, file) => {
    await expect(readGguf(readerOf(file))).rejects.toMatchObject({ reason: 'INVALID_FILE' });
  });

  test.each([
    ['version 1', Buffer.concat([Buffer.from('GGUF'), u32Bytes(1), new Uint8Array(40)])],
    ['an unknown tensor type', header([1n, 0n], tensor('t', [1n], 99, 0n))],
  ])('%s is not supported', async (_, file) => {
    await expect(readGguf(readerOf(file))).rejects.toMatchObject({ reason: 'UNSUPPORTED_FORMAT' });
  });

  test('a valid file that is cut anywhere in the header or the data is refused', async () => {
    const file = await fileOf(sample());
    for (let length = 0; length < file.length - 32; length += 13) {
      await expect(readGguf(readerOf(file.subarray(0, length)))).rejects.toMatchObject({ reason: 'INVALID_FILE' });
    }
    expect(parseGguf(file.subarray(0, 100), BigInt(file.length))).toBe('truncated');
  });
});
