import { PairwiseError } from '@pairwise/errors';
import { refuseForeignFormat } from './foreignFormat.ts';
import { pairOfRow, RowError } from './rows.ts';
import type { PreferencePair } from './pair.ts';

/** The largest row, in bytes: a pair must fit into one message of the API. */
export const maxRowBytes = 4 * 1024 * 1024;

/** A row of a file: its line (JSONL) or position (array), from 1, and the pair or the reason why it is not one. */
export type ReadRow = { line: number; pair: PreferencePair } | { line: number; error: RowError };

/**
 * Reads the rows of a JSONL file or a JSON array, as decided by its first character, from chunks of its bytes. Never
 * holds more than one row. A row that is not a pair is yielded with its error. Throws INVALID_FILE if the rest cannot
 * be parsed: the array is malformed or truncated, or the file has another format.
 */
export async function* readRows(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ReadRow> {
  const rows = splitRows(chunks);
  for await (const { line, bytes } of rows) {
    try {
      yield { line, pair: pairOfRow(parse(bytes)) };
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      yield { line, error };
    }
  }
}

interface RawRow {
  line: number;
  /** Undefined if the row was too large to keep. */
  bytes: Uint8Array | undefined;
}

function parse(bytes: Uint8Array | undefined): unknown {
  if (bytes === undefined) throw new RowError('ROW_TOO_LARGE', `the row has more than ${maxRowBytes} bytes`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new RowError('INVALID_TEXT', 'the row is not valid UTF-8');
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new RowError('BROKEN_JSON', notANumberIn(text) ?? 'the row is not valid JSON');
  }
}

/** Python writes NaN and Infinity, which JSON does not allow. Names the first column that has one. */
function notANumberIn(text: string): string | undefined {
  const strings = text.matchAll(/"([^"\\]|\\.)*"(?:\s*:\s*(NaN|-?Infinity)\b)?/gs);
  for (const [match, , value] of strings) {
    if (value === undefined) continue;
    const column = match.slice(1, match.lastIndexOf('"'));
    return `${column.slice(0, 60)} is ${value}, which JSON does not allow; write null instead`;
  }
  return undefined;
}

const byte = { tab: 9, newline: 10, return: 13, space: 32, quote: 34, comma: 44, backslash: 92, open: 91, close: 93 };
const brackets = { brace: 123, endBrace: 125 };
const isSpace = (at: number) => at === byte.space || at === byte.newline || at === byte.return || at === byte.tab;

async function* splitRows(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<RawRow> {
  let split: ((chunk: Uint8Array) => Generator<RawRow>) | undefined;
  let finish: (() => Generator<RawRow>) | undefined;
  let first = true;
  for await (let chunk of chunks) {
    if (first && chunk.length >= 3 && chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf)
      chunk = chunk.subarray(3);
    first = false;
    if (split === undefined) {
      refuseForeignFormat(chunk);
      const start = chunk.findIndex((each) => !isSpace(each));
      if (start === -1) continue;
      ({ split, finish } = chunk[start] === byte.open ? arraySplitter() : lineSplitter());
    }
    yield* split(chunk);
  }
  if (finish === undefined) throw new PairwiseError('INVALID_FILE', 'the file is empty; it must hold rows of JSON');
  yield* finish();
}

/** Collects the bytes of the current row across chunks, and drops them once there are too many. */
function rowBuffer() {
  let parts: Uint8Array[] = [];
  let size = 0;
  return {
    add(part: Uint8Array) {
      size += part.length;
      if (size <= maxRowBytes) parts.push(part.slice());
      else parts = [];
    },
    take(): { bytes: Uint8Array | undefined; blank: boolean } {
      const bytes = size > maxRowBytes ? undefined : Buffer.concat(parts);
      parts = [];
      size = 0;
      return { bytes, blank: bytes?.every(isSpace) ?? false };
    },
  };
}

function lineSplitter() {
  const row = rowBuffer();
  let line = 0;
  function* end(): Generator<RawRow> {
    line += 1;
    const { bytes, blank } = row.take();
    if (!blank) yield { line, bytes };
  }
  function* split(chunk: Uint8Array): Generator<RawRow> {
    let from = 0;
    for (let at = chunk.indexOf(byte.newline); at !== -1; at = chunk.indexOf(byte.newline, from)) {
      row.add(chunk.subarray(from, at));
      from = at + 1;
      yield* end();
    }
    row.add(chunk.subarray(from));
  }
  return { split, finish: end };
}

/** Splits a top-level array into its elements, at commas outside strings and brackets. */
function arraySplitter() {
  const row = rowBuffer();
  let state: 'before' | 'inside' | 'after' = 'before';
  let depth = 0;
  let inText = false;
  let escaped = false;
  let position = 0;
  function* end(last: boolean): Generator<RawRow> {
    const { bytes, blank } = row.take();
    if (blank && last && position === 0) return;
    position += 1;
    if (blank) throw new PairwiseError('INVALID_FILE', `the array has nothing at position ${position}`);
    yield { line: position, bytes };
  }
  function* split(chunk: Uint8Array): Generator<RawRow> {
    let from = 0;
    for (let at = 0; at < chunk.length; at++) {
      const each = chunk[at]!;
      if (state !== 'inside') {
        if (isSpace(each)) continue;
        if (state === 'after') throw new PairwiseError('INVALID_FILE', 'the file continues after the end of its array');
        state = 'inside';
        from = at + 1;
      } else if (inText) {
        if (escaped) escaped = false;
        else if (each === byte.backslash) escaped = true;
        else if (each === byte.quote) inText = false;
      } else if (each === byte.quote) inText = true;
      else if (each === byte.open || each === brackets.brace) depth += 1;
      else if (depth > 0 && (each === byte.close || each === brackets.endBrace)) depth -= 1;
      else if (depth === 0 && (each === byte.comma || each === byte.close)) {
        row.add(chunk.subarray(from, at));
        from = at + 1;
        yield* end(each === byte.close);
        if (each === byte.close) state = 'after';
      }
    }
    if (state === 'inside') row.add(chunk.subarray(from));
  }
  function* finish(): Generator<RawRow> {
    if (state !== 'after')
      throw new PairwiseError('INVALID_FILE', `the array is not closed; it ends in row ${position + 1}`);
    yield* [];
  }
  return { split, finish };
}
