import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { PairwiseError } from '@pairwise/errors';
import { emptyReport, noteRefusal, pairJson, readRows, type Report, type RowError } from '@pairwise/preference';
import { readContent } from './content.ts';
import { lineOf } from './lines.ts';
import { throwDiskFull } from './staging.ts';

/** Where a pair's line is in the unsorted file. */
interface LinePosition {
  key: string;
  start: number;
  length: number;
}

/** Writes are combined up to this size. */
const bufferBytes = 1024 * 1024;
/** The number of lines that are read at the same time. */
const readLines = 64;

/**
 * Reads an uploaded file and writes its pairs to `pairsPath`: one line of canonical JSON per distinct pair, sorted by
 * digest. The file appears only once it is complete. If `strict`, the first bad row throws INVALID_PAIR; otherwise bad rows
 * are counted. Throws INVALID_FILE, EMPTY_DATASET if no row is a pair, and DISK_FULL.
 */
export async function acceptFile(uploadPath: string, pairsPath: string, strict: boolean): Promise<Report> {
  const [unsorted, sorted] = [`${pairsPath}.unsorted`, `${pairsPath}.part`];
  try {
    const { report, positions } = await writeUnsorted(uploadPath, unsorted, strict);
    positions.sort((a, b) => (a.key < b.key ? -1 : 1));
    await writeSorted(unsorted, sorted, positions);
    await rename(sorted, pairsPath);
    return report;
  } catch (error) {
    if (error instanceof PairwiseError && error.field === undefined) throw inChunk(error);
    return throwDiskFull(error);
  } finally {
    await Promise.all([unsorted, sorted].map((path) => rm(path, { force: true })));
  }
}

async function writeUnsorted(uploadPath: string, unsorted: string, strict: boolean) {
  const report = emptyReport();
  const positions: LinePosition[] = [];
  const known = new Set<string>();
  await using file = await open(unsorted, 'w', 0o600);
  const out = bufferedWriter(file);
  for await (const row of readRows(readContent(uploadPath))) {
    if ('error' in row) {
      if (strict) throw invalidPair(row.line, row.error);
      noteRefusal(report, row.error, row.line);
      continue;
    }
    const { key, bytes } = lineOf(Buffer.from(`${pairJson(row.pair)}\n`));
    if (known.has(key)) {
      report.duplicateCount += 1;
      continue;
    }
    known.add(key);
    report.acceptedCount += 1;
    positions.push({ key, start: out.position(), length: bytes.length });
    await out.write(bytes);
  }
  await out.flush();
  if (positions.length > 0) return { report, positions };
  const message = `none of the file's ${report.refusedCount} rows is a usable pair`;
  throw new PairwiseError('EMPTY_DATASET', message, { metadata: countsByReason(report) });
}

async function writeSorted(from: string, to: string, positions: readonly LinePosition[]): Promise<void> {
  await using source = await open(from);
  await using target = await open(to, 'w', 0o600);
  const out = bufferedWriter(target);
  for (let at = 0; at < positions.length; at += readLines) {
    const lines = positions.slice(at, at + readLines).map(async ({ start, length }) => {
      return (await source.read(Buffer.alloc(length), 0, length, start)).buffer;
    });
    for (const line of await Promise.all(lines)) await out.write(line);
  }
  await out.flush();
  await target.sync();
}

/** Combines small writes into large ones. */
function bufferedWriter(file: FileHandle) {
  let parts: Buffer[] = [];
  let size = 0;
  let written = 0;
  const flush = async () => {
    const whole = Buffer.concat(parts);
    parts = [];
    size = 0;
    for (let at = 0; at < whole.length;) at += (await file.write(whole, at)).bytesWritten;
    written += whole.length;
  };
  return {
    position: () => written + size,
    flush,
    async write(bytes: Buffer) {
      parts.push(bytes);
      size += bytes.length;
      if (size >= bufferBytes) await flush();
    },
  };
}

function invalidPair(line: number, { refusal, message }: RowError): PairwiseError {
  const remedy = 'fix the row, or import with the policy SKIP, which skips bad rows';
  return new PairwiseError('INVALID_PAIR', `row ${line}: ${message}; ${remedy}`, {
    metadata: { line: String(line), refusal },
  });
}

function inChunk({ reason, message, metadata, cause }: PairwiseError): PairwiseError {
  return new PairwiseError(reason, `chunk: ${message}`, { field: 'chunk', metadata, cause });
}

/** The number of refused rows by reason, as error metadata. */
export function countsByReason(report: Report): Record<string, string> {
  return Object.fromEntries(report.refused.map(({ reason, count }) => [reason, String(count)]));
}
