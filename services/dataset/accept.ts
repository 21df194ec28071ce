import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import { emptyReport, noteRefusal, pairDigest, readRows, type Report } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import { inBatches, pairLine } from './pairsFile.ts';

/** What became of a file. */
export interface Accepted {
  /** The pairs as a blob of canonical JSONL, in the file's order, each once. */
  pairs: Digest;
  report: Report;
}

/** Largest expansion of a gzip file: text shrinks 3 to 20 times, bombs 1000 times. */
const maxExpansion = 200;
/** Up to this many bytes nobody counts. */
const freeBytes = 64 * 1024 * 1024;

/**
 * Reads the pairs of a file and stores them. Under `strict` the first row that is no pair throws INVALID_PAIR with its
 * line; otherwise such rows are counted. Throws INVALID_FILE, and EMPTY_DATASET where no pair is left.
 */
export async function acceptFile(blobs: BlobStore, path: string, strict: boolean): Promise<Accepted> {
  const report = emptyReport();
  const seen = new Set<Digest>();
  async function* lines(): AsyncGenerator<string> {
    for await (const row of readRows(contentOf(path))) {
      if ('error' in row) {
        if (strict) throw refusedRow(row.line, row.error);
        noteRefusal(report, row.error.refusal, row.line);
        continue;
      }
      const digest = pairDigest(row.pair);
      if (seen.has(digest)) {
        report.duplicateCount += 1;
        continue;
      }
      seen.add(digest);
      report.acceptedCount += 1;
      yield pairLine(row.pair);
    }
    if (seen.size === 0) {
      const message = `the file holds no usable pair; ${report.refusedCount} rows were refused`;
      throw new PairwiseError('EMPTY_DATASET', message);
    }
  }
  const { digest } = await blobs.put(inBatches(lines()));
  return { pairs: digest, report };
}

function refusedRow(line: number, { refusal, message }: { refusal: string; message: string }): PairwiseError {
  const remedy = 'mend it, or import with the policy SKIP';
  return new PairwiseError('INVALID_PAIR', `line ${line}: ${message}; ${remedy}`, {
    metadata: { line: String(line), refusal },
  });
}

/** The bytes of a file, unpacked if it is gzip by its first two bytes. */
async function* contentOf(path: string): AsyncGenerator<Uint8Array> {
  if (!(await isGzip(path))) {
    yield* createReadStream(path) as AsyncIterable<Uint8Array>;
    return;
  }
  const source = createReadStream(path);
  // Errors of either arrive where the unpacked bytes are read.
  const unpacked = pipeline(source, createGunzip(), () => undefined);
  let size = 0;
  try {
    for await (const chunk of unpacked as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      if (size > freeBytes && size > maxExpansion * source.bytesRead) {
        throw new PairwiseError('INVALID_FILE', `the gzip file unpacks to more than ${maxExpansion} times its size`);
      }
      yield chunk;
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code?.startsWith('Z_') !== true) throw cause;
    throw new PairwiseError('INVALID_FILE', 'the gzip file is damaged or truncated', { cause });
  }
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await file.close();
  }
}
