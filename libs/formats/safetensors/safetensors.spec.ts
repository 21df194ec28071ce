import { PairwiseError } from '@pairwise/errors';
import { describe, expect, test } from 'vitest';
import {
  headerLength,
  maxHeaderBytes,
  parseHeader,
  readMetadata,
  readSafetensors,
  streamedSize,
  streamSafetensors,
  writeSafetensors,
  type TensorData,
} from './index.ts';

const tensors: TensorData[] = [
  { name: 'b', dtype: 'F32', shape: [2, 3], data: Float32Array.of(1, -2, 3.5, 0, -0, Infinity) },
  { name: 'a', dtype: 'F16', shape: [3], data: Uint16Array.of(0x3c00, 1, 0xffff) },
  { name: 'long', dtype: 'I64', shape: [1], data: BigInt64Array.of(-(2n ** 63n)) },
  { name: 'scalar', dtype: 'F64', shape: [], data: Float64Array.of(Math.PI) },
  { name: 'empty', dtype: 'BF16', shape: [4, 0], data: new Uint16Array() },
  { name: '名\u0000"\\', dtype: 'BOOL', shape: [1], data: Uint8Array.of(1) },
];

/** A file made of a header (JSON, text or bytes) and a number of data bytes. */
function fileOf(header: object | string | Uint8Array, dataBytes: number, claimed?: bigint): Uint8Array {
  const text = header instanceof Uint8Array || typeof header === 'string' ? header : JSON.stringify(header);
  const json = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, claimed ?? BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

/** A tensor's entry in a header. */
const entry = (start: unknown, end: unknown, shape: unknown = [1], dtype: unknown = 'F32') => ({
  dtype,
  shape,
  data_offsets: [start, end],
});

describe('what is written', () => {
  test('reads back, in any dtype, shape and name', () => {
    const read = readSafetensors(writeSafetensors(tensors, { format: 'pt' }));
    expect(read.size).toBe(tensors.length);
    for (const { name, shape, data } of tensors) expect(read.get(name)).toEqual({ shape, data });
  });

  test('is the same for the same tensors, in the order given', () => {
    const metadata = { format: 'pt', step: '3' };
    const file = writeSafetensors(tensors, metadata);
    expect(writeSafetensors(tensors, metadata)).toEqual(file);
    const length = headerLength(file.subarray(0, 8), file.length, 'f');
    expect(length % 8).toBe(0);
    const places = parseHeader(file.subarray(8, 8 + length), file.length, 'f');
    expect(new Set(places.map(({ name }) => name))).toEqual(new Set(tensors.map(({ name }) => name)));
    expect(places[0]).toMatchObject({ name: 'b', offset: 8 + length, length: 24 });
    expect(readMetadata(file)).toEqual(metadata);
    expect(readMetadata(writeSafetensors(tensors))).toEqual({});
  });

  test('streams as the same bytes', async () => {
    const streamed = tensors.map(({ data, ...tensor }) => ({
      ...tensor,
      *data() {
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        yield bytes.subarray(0, 1);
        yield bytes.subarray(1);
      },
    }));
    const chunks = await Array.fromAsync(streamSafetensors(streamed, { format: 'pt' }));
    const whole = writeSafetensors(tensors, { format: 'pt' });
    expect(new Uint8Array(Buffer.concat(chunks))).toEqual(whole);
    expect(streamedSize(streamed, { format: 'pt' })).toBe(whole.length);
  });

  test('has the length that the shape says', async () => {
    const wrong = { name: 'x', dtype: 'F32' as const, shape: [2], data: Float32Array.of(1) };
    const reason = expect.objectContaining({ reason: 'WRONG_SHAPE' }) as Error;
    expect(() => writeSafetensors([wrong])).toThrow(reason);
    const streamed = { ...wrong, data: () => [new Uint8Array(4)] };
    await expect(Array.fromAsync(streamSafetensors([streamed]))).rejects.toThrow(reason);
  });

  test('may have no tensors', () => {
    expect(readSafetensors(writeSafetensors([])).size).toBe(0);
  });

  test('reads from a Buffer at any alignment, into arrays of its own', () => {
    const file = writeSafetensors([tensors[1]!, tensors[0]!]);
    const shifted = Buffer.concat([Buffer.alloc(3), file]).subarray(3);
    const { data } = readSafetensors(shifted).get('b')!;
    expect(data).toEqual(tensors[0]!.data);
    shifted.fill(0);
    expect(data).toEqual(tensors[0]!.data);
  });
});

function expectRefused(file: Uint8Array, message: string): void {
  let thrown: unknown;
  try {
    readSafetensors(file, 'x.safetensors');
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(PairwiseError);
  expect(thrown).toMatchObject({ reason: 'INVALID_FILE', metadata: { file: 'x.safetensors' } });
  expect((thrown as Error).message).toContain(message);
  expect((thrown as Error).message.length).toBeLessThan(2000);
}

describe('a hostile file is refused: ', () => {
  const deep = '['.repeat(1_000_000) + ']'.repeat(1_000_000);
  test.each<[string, Uint8Array, string]>([
    ['empty', new Uint8Array(), 'has 0 bytes'],
    ['shorter than a length', new Uint8Array(7), 'has 7 bytes'],
    ['a header longer than the file', fileOf({}, 0, 3n), 'is truncated'],
    ['a header over the cap', fileOf({}, 0, BigInt(maxHeaderBytes) + 1n), 'declares a header of 100000001 bytes'],
    ['a header of 2^64 - 1 bytes', fileOf({}, 0, 2n ** 64n - 1n), 'declares a header of 18446744073709551615 bytes'],
    ['a header cut short', fileOf({ a: entry(0, 4) }, 4, 10n), 'not valid JSON'],
    ['a header of length 0', fileOf('', 0), 'not valid JSON'],
    ['data cut short', fileOf({ a: entry(0, 4) }, 3), 'is truncated'],
    ['data left over', fileOf({ a: entry(0, 4) }, 5), 'bytes that belong to no tensor'],
    ['no tensors but data', fileOf({}, 4), 'bytes that belong to no tensor'],
    ['a gap', fileOf({ a: entry(0, 4), b: entry(8, 12) }, 12), "gap or an overlap before the tensor 'b'"],
    ['a gap at the beginning', fileOf({ a: entry(4, 8) }, 8), "gap or an overlap before the tensor 'a'"],
    ['an overlap', fileOf({ a: entry(0, 4), b: entry(2, 6) }, 6), "gap or an overlap before the tensor 'b'"],
    ['two tensors on one place', fileOf({ a: entry(0, 4), b: entry(0, 4) }, 4), 'gap or an overlap'],
    ['an offset beyond the file', fileOf({ a: entry(400, 404) }, 4), 'gap or an overlap'],
    [
      'an offset beyond 2^53',
      fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[9007199254740992,1e30]}}', 4),
      'impossible offsets',
    ],
    ['offsets backwards', fileOf({ a: entry(4, 0) }, 4), 'gives the tensor'],
    ['a negative offset', fileOf({ a: entry(-4, 0) }, 4), 'impossible offsets'],
    ['offsets that are texts', fileOf({ a: entry('0', '4') }, 4), 'impossible offsets'],
    ['three offsets', fileOf({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 4, 4] } }, 4), 'impossible offsets'],
    ['no offsets', fileOf({ a: { dtype: 'F32', shape: [1] } }, 4), 'impossible offsets'],
    ['a negative size', fileOf({ a: entry(0, 4, [-1]) }, 4), 'impossible shape'],
    ['two negative sizes', fileOf({ a: entry(0, 4, [-1, -1]) }, 4), 'impossible shape'],
    ['a fractional size', fileOf({ a: entry(0, 4, [0.5, 2]) }, 4), 'impossible shape'],
    ['a size beyond 2^53', fileOf({ a: entry(0, 0, [2 ** 60, 0]) }, 0), 'impossible shape'],
    [
      'a product that rounds',
      fileOf({ a: entry(0, 2 ** 53 - 1, [3, 3002399751580331], 'U8') }, 4),
      'shape and dtype take 9007199254740993',
    ],
    ['a product that overflows doubles', fileOf({ a: entry(0, 4, Array(8).fill(2 ** 52)) }, 4), 'shape and dtype take'],
    ['too many axes', fileOf({ a: entry(0, 4, Array(9).fill(1)) }, 4), 'impossible shape'],
    ['a shape that is not a list', fileOf({ a: entry(0, 4, { length: 1 }) }, 4), 'impossible shape'],
    ['bytes that do not fit the shape', fileOf({ a: entry(0, 4, [2]) }, 4), 'gives the tensor'],
    ['an unknown dtype', fileOf({ a: entry(0, 4, [1], 'F8_E4M3') }, 4), 'unknown dtype "F8_E4M3"'],
    ['a dtype that every object has', fileOf({ a: entry(0, 4, [1], 'constructor') }, 4), 'unknown dtype "constructor"'],
    ['a dtype of a megabyte', fileOf({ a: entry(0, 4, [1], 'F'.repeat(1e6)) }, 4), 'unknown dtype "FFF'],
    [
      'a dtype nested deeply',
      fileOf(`{"a":{"dtype":${deep},"shape":[1],"data_offsets":[0,4]}}`, 4),
      'unknown dtype a list',
    ],
    [
      'a shape nested deeply',
      fileOf(`{"a":{"dtype":"F32","shape":${deep},"data_offsets":[0,4]}}`, 4),
      'impossible shape',
    ],
    ['nothing but nesting', fileOf(deep, 0), 'not a JSON object'],
    ['nesting without end', fileOf('{"a":'.repeat(1e5), 0), 'not valid JSON'],
    ['a name of a megabyte', fileOf({ ['a'.repeat(1e6)]: entry(0, 4) }, 4), 'whose name is 1000000 characters long'],
    ['a tensor that is not an object', fileOf({ a: 5 }, 0), 'is not an object'],
    ['a tensor that is null', fileOf({ a: null }, 0), 'is not an object'],
    ['a header that is a list', fileOf('[]', 0), 'not a JSON object'],
    ['a header that is null', fileOf('null', 0), 'not a JSON object'],
    ['a header that is a number', fileOf('12345678', 0), 'not a JSON object'],
    ['bytes that are not valid UTF-8', fileOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d), 0), 'not valid JSON'],
    ['a pickle', Uint8Array.from([0x80, 2, ...new TextEncoder().encode('}q\0(X\x01\0\0\0')]), 'declares a header'],
    ['quotes without end', fileOf(`{"${'\\"'.repeat(200_000)}`, 0), 'not valid JSON'],
  ])('%s', (_, file, message) => {
    expectRefused(file, message);
  });

  const a = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}';
  test.each([
    ['twice', `{"a":${a},"a":${a}}`, '"a" twice'],
    ['with a space behind it', `{"a":${a},"a" :${a}}`, '"a" twice'],
    ['as an escape', `{"a":${a},"\\u0061":${a}}`, '"a" twice'],
    ['in a tensor', '{"a":{"dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,4]}}', '"shape" twice'],
    ['in the metadata', '{"__metadata__":{"step":"1","step":"2"}}', '"step" twice'],
  ])('a name that is there %s', (_, header, message) => {
    expectRefused(fileOf(header, 4), message);
  });
});

test('tensors without elements may be between others and at the end', () => {
  const file = fileOf({ z: entry(4, 4, [0, 7]), a: entry(0, 4), y: entry(4, 4, [3, 0]), b: entry(4, 8) }, 8);
  expect([...readSafetensors(file).keys()].sort()).toEqual(['a', 'b', 'y', 'z']);
});

test('braces, quotes and names of other levels do not confuse the search for repeated names', () => {
  const header = { '{"a"': entry(0, 4), dtype: entry(4, 8), shape: entry(8, 12), '}\\': entry(12, 16) };
  expect(readSafetensors(fileOf(header, 16)).size).toBe(4);
});

test.each(['x', 5, [], { a: 1 }])('metadata that is not text is refused: %j', (metadata) => {
  const reason = expect.objectContaining({ reason: 'INVALID_FILE' }) as Error;
  expect(() => readMetadata(fileOf({ __metadata__: metadata }, 0))).toThrow(reason);
});

test('a file with flipped bytes reads cleanly or is refused, whatever the bytes', () => {
  const file = writeSafetensors(tensors, { format: 'pt' });
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const outcomes = { read: 0, refused: 0 };
  for (let round = 0; round < 5000; round++) {
    let broken = file.slice();
    // Most of it goes to the header: a flipped byte of data is other data.
    for (let flips = 1 + random(3); flips > 0; flips--) {
      const at = random(random(4) === 0 ? file.length : file.length - 60);
      broken[at] = random(2) === 0 ? random(256) : broken[at]! ^ (1 << random(8));
    }
    if (random(10) === 0) broken = broken.slice(0, random(file.length));
    try {
      for (const { shape, data } of readSafetensors(broken).values()) {
        expect(data.length).toBe(shape.reduce((product, size) => product * size, 1));
      }
      readMetadata(broken);
      outcomes.read += 1;
    } catch (error) {
      if (!(error instanceof PairwiseError) || error.reason !== 'INVALID_FILE') throw error;
      outcomes.refused += 1;
    }
  }
  expect(outcomes.read).toBeGreaterThan(100);
  expect(outcomes.refused).toBeGreaterThan(100);
});

test('metadata may be long', () => {
  const text = 'x'.repeat(20_000_000);
  expect(readMetadata(writeSafetensors([], { text }))['text']?.length).toBe(text.length);
});
