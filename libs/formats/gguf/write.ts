import { PairwiseError } from '@pairwise/errors';
import { tensorBytes, tensorTypes } from './tensorTypes.ts';
import type { TensorType } from './tensorTypes.ts';
import { valueBytes, valueTypeIds } from './values.ts';
import type { ElementType, GgufValue, Metadata, Scalar } from './values.ts';

/** The alignment of tensor data in bytes: the default of readers without `general.alignment`. */
export const alignment = 32;

/** A tensor to write. `dims` is in ggml's order, the reverse of Hugging Face's: `[in, out]` for a linear layer. */
export interface TensorToWrite {
  name: string;
  dims: readonly number[];
  type: TensorType;
  /** Returns the bytes, little endian. It is called once, when the tensor is about to be written. */
  data(): Promise<Uint8Array> | AsyncIterable<Uint8Array>;
}

/**
 * A GGUF version 3 file as a stream of bytes. It asks for the data of one tensor at a time.
 * Throws `WRONG_SHAPE` for rows that do not fit their type, and `INTERNAL` if data does not have the declared length.
 */
export async function* writeGguf(file: {
  metadata: Metadata;
  tensors: readonly TensorToWrite[];
}): AsyncGenerator<Uint8Array> {
  const sizes = file.tensors.map(sizeOf);
  yield headerBytes(file.metadata, file.tensors, sizes);
  for (const [index, tensor] of file.tensors.entries()) {
    const expected = sizes[index]!;
    let written = 0;
    for await (const chunk of chunksOf(tensor.data())) {
      written += chunk.length;
      if (written <= expected) yield chunk;
    }
    if (written !== expected) {
      throw new PairwiseError('INTERNAL', `${tensor.name} has ${written} bytes of data, not ${expected}`);
    }
    const padding = aligned(expected) - expected;
    if (padding > 0) yield new Uint8Array(padding);
  }
}

/** The size in bytes of the file that `writeGguf` writes. */
export function ggufSize(file: { metadata: Metadata; tensors: readonly TensorToWrite[] }): number {
  const sizes = file.tensors.map(sizeOf);
  return sizes.reduce((sum, size) => sum + aligned(size), headerBytes(file.metadata, file.tensors, sizes).length);
}

function sizeOf(tensor: TensorToWrite): number {
  return Number(tensorBytes(tensor.name, tensor.type, tensor.dims.map(BigInt)));
}

function aligned(position: number): number {
  return Math.ceil(position / alignment) * alignment;
}

async function* chunksOf(data: Promise<Uint8Array> | AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (Symbol.asyncIterator in data) yield* data;
  else yield await data;
}

function headerBytes(metadata: Metadata, tensors: readonly TensorToWrite[], sizes: readonly number[]): Uint8Array {
  const sink = byteSink();
  sink.bytes(new TextEncoder().encode('GGUF'));
  sink.uint32(3);
  sink.uint64(BigInt(tensors.length));
  sink.uint64(BigInt(metadata.size));
  for (const [key, value] of metadata) {
    sink.text(key);
    writeValue(sink, value);
  }
  let offset = 0;
  for (const [index, tensor] of tensors.entries()) {
    sink.text(tensor.name);
    sink.uint32(tensor.dims.length);
    for (const dim of tensor.dims) sink.uint64(BigInt(dim));
    sink.uint32(tensorTypes[tensor.type].id);
    sink.uint64(BigInt(offset));
    offset += aligned(sizes[index]!);
  }
  sink.zeros(aligned(sink.length()) - sink.length());
  return sink.finish();
}

function writeValue(sink: ByteSink, value: GgufValue): void {
  sink.uint32(valueTypeIds[value.type]);
  if (value.type !== 'array') {
    writeScalar(sink, value.type, value.value);
    return;
  }
  sink.uint32(valueTypeIds[value.of]);
  sink.uint64(BigInt(value.value.length));
  for (const element of value.value) writeScalar(sink, value.of, element);
}

function writeScalar(sink: ByteSink, type: ElementType, value: Scalar): void {
  if (type === 'string') {
    sink.text(String(value));
    return;
  }
  const cell = new DataView(new ArrayBuffer(valueBytes[type]!));
  if (type === 'bool') cell.setUint8(0, value === true ? 1 : 0);
  else setters[type](cell, value as never);
  sink.bytes(new Uint8Array(cell.buffer));
}

type NumericType = Exclude<ElementType, 'string' | 'bool'>;

const setters: Record<NumericType, (cell: DataView, value: never) => void> = {
  uint8: (cell, value: number) => cell.setUint8(0, value),
  int8: (cell, value: number) => cell.setInt8(0, value),
  uint16: (cell, value: number) => cell.setUint16(0, value, true),
  int16: (cell, value: number) => cell.setInt16(0, value, true),
  uint32: (cell, value: number) => cell.setUint32(0, value, true),
  int32: (cell, value: number) => cell.setInt32(0, value, true),
  float32: (cell, value: number) => cell.setFloat32(0, value, true),
  uint64: (cell, value: bigint) => cell.setBigUint64(0, value, true),
  int64: (cell, value: bigint) => cell.setBigInt64(0, value, true),
  float64: (cell, value: number) => cell.setFloat64(0, value, true),
};

/** Collects the bytes of a header; numbers are little endian. */
interface ByteSink {
  bytes(data: Uint8Array): void;
  uint32(value: number): void;
  uint64(value: bigint): void;
  zeros(size: number): void;
  /** Writes the length in bytes as uint64, then the string as UTF-8. */
  text(value: string): void;
  /** The number of bytes so far. */
  length(): number;
  finish(): Uint8Array;
}

/** The buffer grows by doubling, since a vocabulary takes hundreds of thousands of small writes. */
function byteSink(): ByteSink {
  let buffer = new Uint8Array(1 << 16);
  let length = 0;
  const extend = (size: number) => {
    if (length + size > buffer.length) {
      const larger = new Uint8Array(Math.max(buffer.length * 2, length + size));
      larger.set(buffer.subarray(0, length));
      buffer = larger;
    }
    length += size;
    return new DataView(buffer.buffer, length - size, size);
  };
  const bytes = (data: Uint8Array) => {
    extend(data.length);
    buffer.set(data, length - data.length);
  };
  const uint64 = (value: bigint) => extend(8).setBigUint64(0, value, true);
  return {
    bytes,
    uint64,
    uint32: (value) => extend(4).setUint32(0, value, true),
    zeros: (size) => bytes(new Uint8Array(size)),
    text(value) {
      const data = new TextEncoder().encode(value);
      uint64(BigInt(data.length));
      bytes(data);
    },
    length: () => length,
    finish: () => buffer.slice(0, length),
  };
}
