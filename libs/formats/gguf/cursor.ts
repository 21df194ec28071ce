import { PairwiseError } from '@pairwise/errors';

/** Reads forward over the header of a file. Each method throws INVALID_FILE if the file ends before what it reads. */
export interface Cursor {
  bytes(length: bigint): Uint8Array;
  uint32(): number;
  uint64(): bigint;
  /** The number of the `what` that follow: at most `most`, of at least `leastBytes` bytes each. */
  count(most: bigint, leastBytes: bigint, what: string): bigint;
  /** A string of at most `mostBytes` bytes. Invalid UTF-8 is refused if `strict`, otherwise replaced. */
  text(mostBytes: bigint, strict: boolean): string;
  /** The offset of the next byte. */
  position(): bigint;
}

/** Thrown by a cursor if it needs more bytes than it was given, and the file has them. `parseGguf` catches it. */
export const truncated = new Error('the header continues past these bytes');

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const lenientUtf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** A cursor over `prefix`, the first bytes of a file of `sizeBytes` bytes. */
export function cursorOver(prefix: Uint8Array, sizeBytes: bigint): Cursor {
  let position = 0n;
  const bytes = (length: bigint) => {
    if (length > sizeBytes - position) {
      throw invalidGguf(`at byte ${position} it declares ${length} bytes, more than the file has left`);
    }
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
    count(most, leastBytes, what) {
      const count = uint64();
      if (count > most || count * leastBytes > sizeBytes - position) throw invalidGguf(`it declares ${count} ${what}`);
      return count;
    },
    text(mostBytes, strict) {
      const length = uint64();
      if (length > mostBytes) throw invalidGguf(`it declares a string of ${length} bytes`);
      const raw = bytes(length);
      try {
        return (strict ? strictUtf8 : lenientUtf8).decode(raw);
      } catch {
        throw invalidGguf('a name is not valid UTF-8');
      }
    },
    position: () => position,
  };
}

export function invalidGguf(problem: string): PairwiseError {
  return new PairwiseError('INVALID_FILE', `the file is not valid GGUF: ${problem}`);
}
