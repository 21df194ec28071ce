import { createHash } from 'node:crypto';
import { pairOfRow, type PreferencePair } from '@pairwise/preference';

/** A stored pair: its canonical JSON with a newline, and its digest as a binary string, which sorts like its bytes. */
export interface Line {
  key: string;
  bytes: Buffer;
}

const newline = 10;

/** `bytes` is a pair's canonical JSON including the newline. */
export function lineOf(bytes: Buffer): Line {
  return { key: createHash('sha256').update(bytes.subarray(0, -1)).digest('binary'), bytes };
}

/** Parses a line that this service wrote. */
export function pairOf({ bytes }: Pick<Line, 'bytes'>): PreferencePair {
  return pairOfRow(JSON.parse(bytes.toString('utf8')));
}

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
 * Merges one or more streams of lines, each sorted by key, into one sorted stream. A line that occurs in several streams is
 * returned once; `onDuplicate` is called for each further occurrence. The streams are merged pairwise as a binary tree, so
 * n streams cost log2(n) comparisons per line.
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
