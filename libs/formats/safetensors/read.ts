import { headerLength, invalidFile, isRecord, parseHeader, parseObject } from './header.ts';

export type TypedArray =
  Float32Array | Float64Array | BigInt64Array | Int32Array | Int16Array | Int8Array | Uint8Array | Uint16Array;

const arrays = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};

/** Reads the tensors of a small safetensors file in memory, by name. F16 and BF16 are returned as bits. */
export function readSafetensors(
  bytes: Uint8Array,
  file = 'the file',
): Map<string, { shape: number[]; data: TypedArray }> {
  const length = headerLength(bytes.subarray(0, 8), bytes.length, file);
  const places = parseHeader(bytes.subarray(8, 8 + length), bytes.length, file);
  return new Map(
    places.map(({ name, dtype, shape, offset, length: size }) => {
      // Copied, since tensors may be unaligned in the file. (`slice` of a Buffer does not copy.)
      const { buffer } = new Uint8Array(bytes.subarray(offset, offset + size));
      return [name, { shape, data: new arrays[dtype](buffer) }];
    }),
  );
}

/** The metadata of a file. */
export function readMetadata(bytes: Uint8Array, file = 'the file'): Record<string, string> {
  const length = headerLength(bytes.subarray(0, 8), bytes.length, file);
  const metadata = parseObject(bytes.subarray(8, 8 + length), file)['__metadata__'] ?? {};
  if (!isRecord(metadata) || !Object.values(metadata).every((value) => typeof value === 'string')) {
    throw invalidFile(file, 'has metadata that is not text');
  }
  return metadata as Record<string, string>;
}
