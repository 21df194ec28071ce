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
export async function* splitLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<Line> {
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
 * Merges streams of lines, each in the order of their keys, into one. A line that several streams have comes once;
 * `onDuplicate` is told of every further one.
 */
export async function* mergeLines(
  streams: readonly AsyncGenerator<Line>[],
  onDuplicate: () => void,
): AsyncGenerator<Line> {
  const heads: { line: Line; stream: AsyncGenerator<Line> }[] = [];
  const advance = async (stream: AsyncGenerator<Line>) => {
    const next = await stream.next();
    if (next.done !== true) heads.push({ line: next.value, stream });
  };
  for (const stream of streams) await advance(stream);
  let last: string | undefined;
  while (heads.length > 0) {
    const first = heads.reduce((least, head) => (head.line.key < least.line.key ? head : least));
    heads.splice(heads.indexOf(first), 1);
    if (first.line.key === last) onDuplicate();
    else yield first.line;
    last = first.line.key;
    await advance(first.stream);
  }
}
