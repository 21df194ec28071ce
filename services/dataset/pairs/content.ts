import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { PassThrough } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { PairwiseError } from '@pairwise/errors';

const chunkBytes = 256 * 1024;
/** Text is seldom packed to less than a tenth; a file that swells more than this is made to fill memory or disk. */
const largestRatio = 200;
const freeBytes = 64 * 1024 * 1024;

/** The bytes of a file; of a gzip file, told by its first bytes, what it holds. Throws INVALID_FILE. */
export async function* readContent(path: string): AsyncGenerator<Buffer> {
  if (!(await isGzip(path))) {
    yield* createReadStream(path, { highWaterMark: chunkBytes }) as AsyncIterable<Buffer>;
    return;
  }
  const source = createReadStream(path, { highWaterMark: chunkBytes });
  const unpacked = new PassThrough();
  // Its error is that of `unpacked`, which is read below.
  pipeline(source, createGunzip({ chunkSize: chunkBytes }), unpacked).catch(() => undefined);
  let size = 0;
  try {
    for await (const chunk of unpacked as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > freeBytes && size > largestRatio * source.bytesRead) throw tooLarge();
      yield chunk;
    }
  } catch (error) {
    throw asInvalidFile(error);
  }
}

async function isGzip(path: string): Promise<boolean> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
  return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
}

function tooLarge(): PairwiseError {
  const message = `the gzip file unpacks to more than ${largestRatio} times its size; upload it unpacked`;
  return new PairwiseError('INVALID_FILE', message);
}

function asInvalidFile(error: unknown): unknown {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (!code.startsWith('Z_')) return error;
  const problem = code === 'Z_BUF_ERROR' ? 'is truncated' : 'is damaged';
  return new PairwiseError('INVALID_FILE', `the gzip file ${problem}`, { cause: error });
}
