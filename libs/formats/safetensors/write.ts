import { PairwiseError } from '@pairwise/errors';
import { dtypeBytes, type SafetensorsDtype } from './header.ts';

/** A tensor to write. Data is little endian, as on every machine that runs this. */
export interface TensorData {
  name: string;
  dtype: SafetensorsDtype;
  shape: readonly number[];
  data: ArrayBufferView;
}

/** A tensor to write whose bytes are requested once, when it is about to be written. */
export interface StreamedTensor {
  name: string;
  dtype: SafetensorsDtype;
  shape: readonly number[];
  data: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A safetensors file with the tensors in the given order. The same tensors and metadata give the same bytes. */
export function writeSafetensors(tensors: readonly TensorData[], metadata: Record<string, string> = {}): Uint8Array {
  for (const { name, dtype, shape, data } of tensors) checkLength(name, dtype, shape, data.byteLength);
  const header = encodeHeader(tensors, metadata);
  const file = new Uint8Array(tensors.reduce((size, { data }) => size + data.byteLength, header.length));
  file.set(header);
  let at = header.length;
  for (const { data } of tensors) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return file;
}

/** Like `writeSafetensors`, but a stream of bytes, for models larger than the memory. Throws WRONG_SHAPE. */
export async function* streamSafetensors(
  tensors: readonly StreamedTensor[],
  metadata: Record<string, string> = {},
): AsyncGenerator<Uint8Array> {
  yield encodeHeader(tensors, metadata);
  for (const { name, dtype, shape, data } of tensors) {
    let length = 0;
    for await (const bytes of data()) {
      length += bytes.byteLength;
      yield bytes;
    }
    checkLength(name, dtype, shape, length);
  }
}

/** The size in bytes of what `streamSafetensors` writes. */
export function streamedSize(tensors: readonly StreamedTensor[], metadata: Record<string, string> = {}): number {
  const header = encodeHeader(tensors, metadata).length;
  return tensors.reduce((size, { dtype, shape }) => size + byteLength(dtype, shape), header);
}

/** The header with its length before it, padded so that the tensors begin at a multiple of 8 bytes. */
function encodeHeader(
  tensors: readonly { name: string; dtype: SafetensorsDtype; shape: readonly number[] }[],
  metadata: Record<string, string>,
): Uint8Array {
  let end = 0;
  const entries = tensors.map(({ name, dtype, shape }): [string, object] => {
    const start = end;
    end += byteLength(dtype, shape);
    return [name, { dtype, shape, data_offsets: [start, end] }];
  });
  const first = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  const text = new TextEncoder().encode(JSON.stringify({ ...first, ...Object.fromEntries(entries) }));
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  return header;
}

function byteLength(dtype: SafetensorsDtype, shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
}

function checkLength(name: string, dtype: SafetensorsDtype, shape: readonly number[], length: number): void {
  const expected = byteLength(dtype, shape);
  if (length === expected) return;
  throw new PairwiseError(
    'WRONG_SHAPE',
    `'${name}' has ${length} bytes; its shape [${shape.join()}] needs ${expected}`,
  );
}
