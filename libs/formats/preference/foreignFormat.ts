import { PairwiseError } from '@pairwise/errors';

const magics: readonly [magic: string, format: string][] = [
  ['PAR1', 'Parquet'],
  ['ARROW1', 'Arrow'],
  ['PK\x03\x04', 'a zip archive'],
  ['\x28\xb5\x2f\xfd', 'Zstandard'],
  ['BZh', 'bzip2'],
  ['\xfd7zXZ', 'xz'],
  ['SQLite format 3', 'SQLite'],
];

/** A line of column names, quoted or not, separated by commas, semicolons or tabs. */
const header = /^"?[\w .-]+"?([,;\t]"?[\w .-]+"?)+\s*$/;

/**
 * Throws INVALID_FILE that names the format, if the start of a file shows that it is neither JSON lines nor a JSON
 * array.
 */
export function refuseForeignFormat(start: Uint8Array): void {
  const text = Buffer.from(start.buffer, start.byteOffset, Math.min(start.length, 4096)).toString('latin1');
  const [firstLine = '', secondLine] = text.split('\n');
  const magic = magics.find(([each]) => text.startsWith(each))?.[1];
  if (magic !== undefined) throw foreign(`is ${magic}`);
  if (header.test(firstLine) && /chosen|rejected/.test(firstLine)) throw foreign('is CSV');
  if (/^\{\s*$/.test(firstLine) && secondLine !== undefined) throw foreign('is one JSON object over several lines');
}

function foreign(problem: string): PairwiseError {
  const remedy = 'convert it to JSON lines (one row per line) or a JSON array, uncompressed or as gzip';
  return new PairwiseError('INVALID_FILE', `the file ${problem}; ${remedy}`);
}
