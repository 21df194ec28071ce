import { PairwiseError } from '@pairwise/errors';
import { cursorOver, invalidGguf, truncated, type Cursor } from './cursor.ts';
import { tensorBytes, tensorTypeOf } from './tensorTypes.ts';
import type { TensorType } from './tensorTypes.ts';
import { valueBytes, valueTypeIds } from './values.ts';
import type { ElementType, GgufValue, Scalar, ValueType } from './values.ts';

/** A tensor of a file: where it starts (`offset`, in bytes from the start of the file) and how it is stored. */
export interface TensorInfo {
  name: string;
  /** Fastest dimension first, the reverse of Hugging Face's order. */
  dims: bigint[];
  type: TensorType;
  offset: bigint;
  sizeBytes: bigint;
}

export interface GgufHeader {
  version: number;
  metadata: Map<string, GgufValue>;
  tensors: TensorInfo[];
  alignment: number;
  /** The offset of the tensor data, in bytes. */
  dataOffset: bigint;
}

/** Reads bytes of a file by range, never past `sizeBytes`. */
export interface RangeReader {
  sizeBytes: bigint;
  read(offset: bigint, length: number): Promise<Uint8Array>;
}

const maxHeaderBytes = 512 * 2 ** 20;
const maxTensors = 1n << 18n;
const maxPairs = 1n << 16n;
const maxElements = 1n << 24n;
const maxTextBytes = 1n << 26n;
const maxNameBytes = 1n << 16n;
const maxAlignment = 1 << 20;

/**
 * Reads the header of a GGUF file (versions 2 and 3) without trusting it: every count is checked against the remaining bytes
 * before anything is allocated, and every tensor must be inside the file and must not overlap another one.
 * Throws `INVALID_FILE` for a damaged or inconsistent file, `UNSUPPORTED_FORMAT` for unknown versions and types.
 */
export async function readGguf(file: RangeReader): Promise<GgufHeader> {
  for (let length = 1 << 20; ; length *= 4) {
    const available = Number(file.sizeBytes < BigInt(length) ? file.sizeBytes : BigInt(length));
    const header = parseGguf(await file.read(0n, available), file.sizeBytes);
    if (header !== 'truncated') return header;
    if (BigInt(available) === file.sizeBytes) throw invalidGguf('the file ends inside its header');
    if (length >= maxHeaderBytes) throw invalidGguf(`the header is longer than ${maxHeaderBytes} bytes`);
  }
}

/** The header of a file of `sizeBytes` bytes from its first bytes, or 'truncated' if it continues past `prefix`. */
export function parseGguf(prefix: Uint8Array, sizeBytes: bigint): GgufHeader | 'truncated' {
  try {
    return parse(cursorOver(prefix, sizeBytes), sizeBytes);
  } catch (error) {
    if (error === truncated) return 'truncated';
    throw error;
  }
}

function parse(cursor: Cursor, sizeBytes: bigint): GgufHeader {
  if (new TextDecoder('latin1').decode(cursor.bytes(4n)) !== 'GGUF') throw invalidGguf('it does not begin with "GGUF"');
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) {
    throw new PairwiseError('UNSUPPORTED_FORMAT', `GGUF version ${version} is not supported; versions 2 and 3 are`);
  }
  const tensorCount = cursor.count(maxTensors, 24n, 'tensors');
  const pairCount = cursor.count(maxPairs, 13n, 'metadata pairs');
  const metadata = new Map<string, GgufValue>();
  for (let index = 0n; index < pairCount; index++) {
    const key = cursor.text(maxNameBytes, true);
    if (metadata.has(key)) throw invalidGguf(`the key ${JSON.stringify(key)} occurs twice`);
    metadata.set(key, readValue(cursor));
  }
  const alignment = alignmentOf(metadata);
  const infos = new Map<string, Omit<TensorInfo, 'offset'> & { relative: bigint }>();
  for (let index = 0n; index < tensorCount; index++) {
    const info = readTensorInfo(cursor);
    if (infos.has(info.name)) throw invalidGguf(`the tensor ${JSON.stringify(info.name)} occurs twice`);
    infos.set(info.name, info);
  }
  const unit = BigInt(alignment);
  const dataOffset = ((cursor.position() + unit - 1n) / unit) * unit;
  const tensors = [...infos.values()].map(({ relative, ...info }) => ({ ...info, offset: dataOffset + relative }));
  checkExtents(tensors, unit, dataOffset, sizeBytes);
  return { version, metadata, tensors, alignment, dataOffset };
}

function readTensorInfo(cursor: Cursor): Omit<TensorInfo, 'offset'> & { relative: bigint } {
  const name = cursor.text(maxNameBytes, true);
  const rank = cursor.uint32();
  if (rank > 4) throw invalidGguf(`the tensor ${JSON.stringify(name)} has ${rank} dimensions; at most 4 are allowed`);
  const dims = Array.from({ length: rank }, () => cursor.uint64());
  if (dims.some((dim) => dim === 0n || dim > 1n << 40n)) {
    throw invalidGguf(`the tensor ${JSON.stringify(name)} has an impossible dimension: ${dims.join(' x ')}`);
  }
  const typeId = cursor.uint32();
  const type = tensorTypeOf(typeId);
  if (type === undefined) {
    throw new PairwiseError('UNSUPPORTED_FORMAT', `the tensor ${JSON.stringify(name)} has the unknown type ${typeId}`);
  }
  return { name, dims, type, relative: cursor.uint64(), sizeBytes: tensorBytes(name, type, dims) };
}

function checkExtents(tensors: readonly TensorInfo[], unit: bigint, dataOffset: bigint, sizeBytes: bigint): void {
  let end = dataOffset;
  for (const tensor of [...tensors].sort((a, b) => Number(a.offset - b.offset))) {
    const name = JSON.stringify(tensor.name);
    if ((tensor.offset - dataOffset) % unit !== 0n)
      throw invalidGguf(`the data of ${name} is not aligned to ${unit} bytes`);
    if (tensor.offset < end) throw invalidGguf(`the data of ${name} overlaps that of another tensor`);
    end = tensor.offset + tensor.sizeBytes;
    if (end > sizeBytes)
      throw invalidGguf(`the data of ${name} ends at byte ${end}, but the file has ${sizeBytes} bytes`);
  }
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const value = metadata.get('general.alignment');
  if (value === undefined) return 32;
  const alignment = Number(value.value);
  const isPowerOfTwo = Number.isInteger(Math.log2(alignment));
  if (value.type !== 'uint32' || !isPowerOfTwo || alignment > maxAlignment) {
    throw invalidGguf(
      `general.alignment is ${String(value.value)}; it must be a uint32 and a power of two, at most ${maxAlignment}`,
    );
  }
  return alignment;
}

const valueTypes = new Map(Object.entries(valueTypeIds).map(([name, id]) => [id as number, name as ValueType]));

function readValue(cursor: Cursor): GgufValue {
  const type = valueTypes.get(cursor.uint32());
  if (type === undefined) throw invalidGguf('a metadata value has an unknown type');
  if (type !== 'array') return { type, value: readScalar(cursor, type) };
  const of = valueTypes.get(cursor.uint32());
  if (of === undefined || of === 'array') throw invalidGguf('an array contains arrays or values of an unknown type');
  const length = cursor.count(maxElements, BigInt(valueBytes[of] ?? 8), 'array elements');
  const value: Scalar[] = [];
  for (let index = 0n; index < length; index++) value.push(readScalar(cursor, of));
  return { type, of, value };
}

function readScalar(cursor: Cursor, type: ElementType): Scalar {
  if (type === 'string') return cursor.text(maxTextBytes, false);
  const bytes = cursor.bytes(BigInt(valueBytes[type]!));
  return getters[type](new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

const getters: Record<Exclude<ElementType, 'string'>, (cell: DataView) => Scalar> = {
  uint8: (cell) => cell.getUint8(0),
  int8: (cell) => cell.getInt8(0),
  uint16: (cell) => cell.getUint16(0, true),
  int16: (cell) => cell.getInt16(0, true),
  uint32: (cell) => cell.getUint32(0, true),
  int32: (cell) => cell.getInt32(0, true),
  float32: (cell) => cell.getFloat32(0, true),
  bool: (cell) => cell.getUint8(0) !== 0,
  uint64: (cell) => cell.getBigUint64(0, true),
  int64: (cell) => cell.getBigInt64(0, true),
  float64: (cell) => cell.getFloat64(0, true),
};
