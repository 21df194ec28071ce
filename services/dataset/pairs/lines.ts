import { createHash } from 'node:crypto';
import { pairOfRow, type PreferencePair } from '@pairwise/preference';

/** A pair as its line of canonical JSON with the newline, and its digest as 32 characters, ordered as its bytes are. */
export interface Line {
  key: string;
  bytes: Buffer;
}

const newline = 10;

/** The line of a pair's canonical JSON, given with its newline. */
export function lineOf(bytes: Buffer): Line {
  return { key: createHash('sha256').update(bytes.subarray(0, -1)).digest('binary'), bytes };
}

/** The pair of a line that this service wrote. */
export function pairOf({ bytes }: Pick<Line, 'bytes'>): PreferencePair {
  return pairOfRow(JSON.parse(bytes.toString('utf8')));
}

/** Splits bytes into lines, each with its newline. */
export async function* splitLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<Line, void> {
  let rest: Buffer[] = [];
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, from)) {
      yield lineOf(Buffer.concat([...rest, chunk.subarray(from, at + 1)]));
      rest = [];
      from = at + 1;
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
  }
}

/**
 * Merges streams of lines, at least one, each in the order of their keys, into one. A line that several streams have comes
 * once; `onDuplicate` is called for every further one. Halves are merged by themselves, so that a line is compared as
 * often as the number of streams can be halved.
 */
export function mergeLines(
  streams: readonly AsyncGenerator<Line, void>[],
  onDuplicate: () => void,
): AsyncGenerator<Line, void> {
  if (streams.length === 1) return streams[0]!;
  const half = Math.ceil(streams.length / 2);
  const [left, right] = [streams.slice(0, half), streams.slice(half)];
  return mergeTwo(mergeLines(left, onDuplicate), mergeLines(right, onDuplicate), onDuplicate);
}

async function* mergeTwo(
  left: AsyncGenerator<Line, void>,
  right: AsyncGenerator<Line, void>,
  onDuplicate: () => void,
): AsyncGenerator<Line, void> {
  let [a, b] = [await left.next(), await right.next()];
  while (a.done !== true && b.done !== true) {
    if (a.value.key < b.value.key) {
      yield a.value;
      a = await left.next();
      continue;
    }
    if (a.value.key === b.value.key) onDuplicate();
    else yield b.value;
    b = await right.next();
  }
  if (a.done !== true) yield a.value;
  if (b.done !== true) yield b.value;
  yield* left;
  yield* right;
}
