import { PairwiseError } from '@pairwise/errors';
import { tensorBytes, tensorTypeOf } from './tensorTypes.ts';
import type { TensorType } from './tensorTypes.ts';
import { valueBytes, valueTypeIds } from './values.ts';
import type { ElementType, GgufValue, Scalar, ValueType } from './values.ts';

/** A tensor of a file: where it starts (`offset` from the start of the file, in bytes) and how it is stored. */
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
  /** Where tensor data begins. */
  dataOffset: bigint;
}

/** Bytes of a file by range; `length` is never past the end that `sizeBytes` gives. */
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
 * Reads the header of a GGUF file (versions 2 and 3), trusting nothing in it: every count is held against the bytes
 * that are there before anything is allocated, and every tensor must lie inside the file and apart from the others.
 * Throws `INVALID_FILE` for a damaged or inconsistent file, `UNSUPPORTED_FORMAT` for unknown versions and types.
 */
export async function readGguf(file: RangeReader): Promise<GgufHeader> {
  for (let length = 1 << 20; ; length *= 4) {
    const available = Number(file.sizeBytes < BigInt(length) ? file.sizeBytes : BigInt(length));
    const header = parseGguf(await file.read(0n, available), file.sizeBytes);
    if (header !== 'truncated') return header;
    if (BigInt(available) === file.sizeBytes) throw invalid('the file ends inside its header');
    if (length >= maxHeaderBytes) throw invalid(`the header is longer than ${maxHeaderBytes} bytes`);
  }
}

/** The header in the first bytes of a file of `sizeBytes` bytes, or 'truncated' if it continues past `prefix`. */
export function parseGguf(prefix: Uint8Array, sizeBytes: bigint): GgufHeader | 'truncated' {
  try {
    return parse(cursorOver(prefix, sizeBytes), sizeBytes);
  } catch (error) {
    if (error === truncated) return 'truncated';
    throw error;
  }
}

function parse(cursor: Cursor, sizeBytes: bigint): GgufHeader {
  if (new TextDecoder('latin1').decode(cursor.bytes(4n)) !== 'GGUF') throw invalid('it does not begin with "GGUF"');
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) {
    throw new PairwiseError('UNSUPPORTED_FORMAT', `GGUF version ${version} is not supported: 2 and 3 are`);
  }
  const tensorCount = cursor.count(maxTensors, 24n, 'tensors');
  const pairCount = cursor.count(maxPairs, 13n, 'metadata pairs');
  const metadata = new Map<string, GgufValue>();
  for (let index = 0n; index < pairCount; index++) {
    const key = cursor.text(maxNameBytes, true);
    if (metadata.has(key)) throw invalid(`the key ${JSON.stringify(key)} comes twice`);
    metadata.set(key, readValue(cursor));
  }
  const alignment = alignmentOf(metadata);
  const infos = new Map<string, Omit<TensorInfo, 'offset'> & { relative: bigint }>();
  for (let index = 0n; index < tensorCount; index++) {
    const info = readTensorInfo(cursor);
    if (infos.has(info.name)) throw invalid(`the tensor ${JSON.stringify(info.name)} comes twice`);
    infos.set(info.name, info);
  }
  const step = BigInt(alignment);
  const dataOffset = ((cursor.position() + step - 1n) / step) * step;
  const tensors = [...infos.values()].map(({ relative, ...info }) => ({ ...info, offset: dataOffset + relative }));
  checkExtents(tensors, step, dataOffset, sizeBytes);
  return { version, metadata, tensors, alignment, dataOffset };
}

function readTensorInfo(cursor: Cursor): Omit<TensorInfo, 'offset'> & { relative: bigint } {
  const name = cursor.text(maxNameBytes, true);
  const rank = cursor.uint32();
  if (rank > 4) throw invalid(`the tensor ${JSON.stringify(name)} has ${rank} dimensions: at most 4 are allowed`);
  const dims = Array.from({ length: rank }, () => cursor.uint64());
  if (dims.some((dim) => dim === 0n || dim > 1n << 40n)) {
    throw invalid(`the tensor ${JSON.stringify(name)} has an impossible dimension: ${dims.join(' x ')}`);
  }
  const typeId = cursor.uint32();
  const type = tensorTypeOf(typeId);
  if (type === undefined) {
    throw new PairwiseError('UNSUPPORTED_FORMAT', `${JSON.stringify(name)} has tensor type ${typeId}, not known here`);
  }
  return { name, dims, type, relative: cursor.uint64(), sizeBytes: tensorBytes(name, type, dims) };
}

function checkExtents(tensors: readonly TensorInfo[], step: bigint, dataOffset: bigint, sizeBytes: bigint): void {
  let end = dataOffset;
  for (const tensor of [...tensors].sort((a, b) => Number(a.offset - b.offset))) {
    const name = JSON.stringify(tensor.name);
    if ((tensor.offset - dataOffset) % step !== 0n)
      throw invalid(`the data of ${name} is not aligned to ${step} bytes`);
    if (tensor.offset < end) throw invalid(`the data of ${name} overlaps another tensor's`);
    end = tensor.offset + tensor.sizeBytes;
    if (end > sizeBytes) throw invalid(`the data of ${name} ends at byte ${end} of a file of ${sizeBytes}`);
  }
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const value = metadata.get('general.alignment');
  if (value === undefined) return 32;
  const alignment = Number(value.value);
  const isPowerOfTwo = Number.isInteger(Math.log2(alignment));
  if (value.type !== 'uint32' || !isPowerOfTwo || alignment > maxAlignment) {
    throw invalid(`general.alignment is ${String(value.value)}: it must be a power of two as uint32`);
  }
  return alignment;
}

const valueTypes = new Map(Object.entries(valueTypeIds).map(([name, id]) => [id as number, name as ValueType]));

function readValue(cursor: Cursor): GgufValue {
  const type = valueTypes.get(cursor.uint32());
  if (type === undefined) throw invalid('a metadata value has an unknown type');
  if (type !== 'array') return { type, value: readScalar(cursor, type) };
  const of = valueTypes.get(cursor.uint32());
  if (of === undefined || of === 'array') throw invalid('an array holds arrays or an unknown type');
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

type Cursor = ReturnType<typeof cursorOver>;

/** A private signal to parseGguf, never seen outside. */
const truncated = new Error('the header continues past these bytes');
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const lenientUtf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Reads forward over the first bytes of a file; throws `truncated` where more of the file is needed. */
function cursorOver(prefix: Uint8Array, sizeBytes: bigint) {
  let position = 0n;
  const bytes = (length: bigint) => {
    if (length > sizeBytes - position) throw invalid(`byte ${position} announces ${length} bytes, past the file's end`);
    if (length > BigInt(prefix.length) - position) throw truncated;
    const start = Number(position);
    position += length;
    return prefix.subarray(start, start + Number(length));
  };
  const uint32 = () => {
    const cell = bytes(4n);
    return new DataView(cell.buffer, cell.byteOffset, 4).getUint32(0, true);
  };
  const uint64 = () => {
    const cell = bytes(8n);
    return new DataView(cell.buffer, cell.byteOffset, 8).getBigUint64(0, true);
  };
  return {
    bytes,
    uint32,
    uint64,
    /** A number of things that take at least `leastBytes` bytes each. */
    count(most: bigint, leastBytes: bigint, what: string) {
      const count = uint64();
      if (count > most || count * leastBytes > sizeBytes - position) throw invalid(`it announces ${count} ${what}`);
      return count;
    },
    text(mostBytes: bigint, strict: boolean) {
      const length = uint64();
      if (length > mostBytes) throw invalid(`it announces a text of ${length} bytes`);
      const raw = bytes(length);
      try {
        return (strict ? strictUtf8 : lenientUtf8).decode(raw);
      } catch {
        throw invalid('a name is not UTF-8');
      }
    },
    position: () => position,
  };
}

function invalid(problem: string): PairwiseError {
  return new PairwiseError('INVALID_FILE', `not a sound GGUF file: ${problem}`);
}
