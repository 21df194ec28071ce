import { PairwiseError, shown } from '@pairwise/errors';

/** Bytes per element of the dtypes that safetensors knows. */
export const dtypeBytes = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 } as const;
export type SafetensorsDtype = keyof typeof dtypeBytes;

/** One tensor of a file: where its bytes are, counted from the beginning of the file. */
export interface TensorPlace {
  name: string;
  dtype: SafetensorsDtype;
  shape: number[];
  offset: number;
  length: number;
}

/** The largest header, in bytes; the limit is that of the reference implementation. */
export const maxHeaderBytes = 100_000_000;
const maxRank = 8;
/** The longest name of a tensor in UTF-16 units, so that it fits into an error message. */
const maxNameLength = 1000;

/** The length of the header in bytes, from the first 8 bytes of a file. Throws INVALID_FILE for an impossible length. */
export function headerLength(start: Uint8Array, fileSize: number, file: string): number {
  if (start.length < 8 || fileSize < 8)
    throw invalidFile(file, `has ${fileSize} bytes; a safetensors file has at least 8`);
  const length = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes))
    throw invalidFile(file, `declares a header of ${length} bytes; at most ${maxHeaderBytes} are allowed`);
  if (8 + Number(length) > fileSize) {
    throw invalidFile(
      file,
      `is truncated: its header should end at byte ${8 + Number(length)}, the file at ${fileSize}`,
    );
  }
  return Number(length);
}

/**
 * The tensors of a safetensors file from the JSON of its header, in the order of their offsets. The header is not trusted:
 * sizes must match shapes and dtypes, and the tensors must fill the file without gaps or overlaps, as the format requires.
 * Throws INVALID_FILE with the names of the file and the tensor.
 */
export function parseHeader(json: Uint8Array, fileSize: number, file: string): TensorPlace[] {
  const dataStart = 8 + json.length;
  const entries = Object.entries(parseObject(json, file)).filter(([name]) => name !== '__metadata__');
  const tensors = entries.map(([name, entry]) => parseTensor(name, entry, dataStart, file));
  tensors.sort((a, b) => a.offset - b.offset || a.length - b.length);
  let end = dataStart;
  for (const { name, offset, length } of tensors) {
    if (offset !== end) throw invalidFile(file, `leaves a gap or an overlap before the tensor '${name}'`);
    end = offset + length;
  }
  if (end !== fileSize) {
    const problem = end > fileSize ? 'is truncated' : 'has bytes that belong to no tensor';
    throw invalidFile(file, `${problem}: its tensors end at byte ${end}, the file at ${fileSize}`);
  }
  return tensors;
}

/** Parses the header's JSON, in which no name may occur twice. */
export function parseObject(json: Uint8Array, file: string): Record<string, unknown> {
  let header: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(json);
    header = JSON.parse(text);
    refuseRepeatedNames(text, file);
  } catch (cause) {
    if (cause instanceof PairwiseError) throw cause;
    throw invalidFile(file, 'has a header that is not valid JSON', cause);
  }
  if (isRecord(header)) return header;
  throw invalidFile(file, 'has a header that is not a JSON object');
}

/**
 * Of two equal names JSON.parse keeps the last; readers that keep the first would see a different file. `text` is valid
 * JSON. The pattern does not choose at each plain character, because a long text would overflow the stack. A name can be
 * written in several ways, so parsed names are compared.
 */
function refuseRepeatedNames(text: string, file: string): void {
  const open: Set<string>[] = [];
  for (const [token, quoted, colon] of text.matchAll(/("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (quoted !== undefined && colon !== undefined) {
      const name = JSON.parse(quoted) as string;
      const names = open.at(-1)!;
      if (names.has(name)) throw invalidFile(file, `has the name ${shown(name)} twice in its header`);
      names.add(name);
    }
  }
}

function parseTensor(name: string, entry: unknown, dataStart: number, file: string): TensorPlace {
  if (name.length > maxNameLength) throw invalidFile(file, `has a tensor whose name is ${name.length} characters long`);
  if (!isRecord(entry)) throw invalidFile(file, `describes the tensor '${name}' by something that is not an object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypeBytes, dtype)) {
    throw invalidFile(file, `gives the tensor '${name}' the unknown dtype ${shown(dtype)}`);
  }
  if (!isSizes(shape) || shape.length > maxRank)
    throw invalidFile(file, `gives the tensor '${name}' an impossible shape`);
  if (!isSizes(offsets) || offsets.length !== 2)
    throw invalidFile(file, `gives the tensor '${name}' impossible offsets`);
  const [start = 0, end = 0] = offsets;
  // Sizes are multiplied exactly, because a product of doubles may round to the declared length.
  const expected = shape.reduce(
    (product, size) => product * BigInt(size),
    BigInt(dtypeBytes[dtype as SafetensorsDtype]),
  );
  if (BigInt(end) - BigInt(start) !== expected) {
    throw invalidFile(
      file,
      `gives the tensor '${name}' ${end - start} bytes, but its shape and dtype take ${expected}`,
    );
  }
  return { name, dtype: dtype as SafetensorsDtype, shape, offset: dataStart + start, length: end - start };
}

/** Whether a JSON value is an object, not a list or null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}

export function invalidFile(file: string, problem: string, cause?: unknown): PairwiseError {
  return new PairwiseError('INVALID_FILE', `${file} ${problem}`, { metadata: { file }, cause });
}
