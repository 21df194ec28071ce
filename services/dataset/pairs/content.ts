import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { PassThrough } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { PairwiseError } from '@pairwise/errors';

const chunkBytes = 256 * 1024;
/** Text rarely compresses to less than a tenth, so a file that expands further than this is an attack. */
const maxExpansion = 200;
/** Output up to this size is allowed at any ratio. */
const alwaysAllowedBytes = 64 * 1024 * 1024;

/** Reads a file and decompresses it if it starts like a gzip file. Throws INVALID_FILE. */
export async function* readContent(path: string): AsyncGenerator<Buffer> {
  const gzip = await isGzip(path);
  const source = createReadStream(path, { highWaterMark: chunkBytes });
  if (!gzip) {
    yield* source as AsyncIterable<Buffer>;
    return;
  }
  const unpacked = new PassThrough();
  // Errors also reach `unpacked`, which is read below.
  pipeline(source, createGunzip({ chunkSize: chunkBytes }), unpacked).catch(() => undefined);
  let size = 0;
  try {
    for await (const chunk of unpacked as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > alwaysAllowedBytes && size > maxExpansion * source.bytesRead) throw tooLarge();
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
  const message = `the gzip file expands to more than ${maxExpansion} times its size; upload it uncompressed`;
  return new PairwiseError('INVALID_FILE', message);
}

function asInvalidFile(error: unknown): unknown {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (!code.startsWith('Z_')) return error;
  const problem = code === 'Z_BUF_ERROR' ? 'is truncated' : 'is damaged';
  return new PairwiseError('INVALID_FILE', `the gzip file ${problem}`, { cause: error });
}
