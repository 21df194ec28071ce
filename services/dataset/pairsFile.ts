import { canonicalJson } from '@pairwise/fingerprint';
import type { Digest } from '@pairwise/fingerprint';
import type { PreferencePair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';

const newline = 10;

/** A pair as it is kept: one line of canonical JSON, so that the digest of a file of pairs is that of their content. */
export function pairLine({ prompt, chosen, rejected }: PreferencePair): string {
  const plain = (turn: PreferencePair['prompt']) =>
    typeof turn === 'string' ? turn : turn.map(({ role, content }) => ({ role, content }));
  return `${canonicalJson({ prompt: plain(prompt), chosen: plain(chosen), rejected: plain(rejected) })}\n`;
}

/** The pairs of a blob that was made of `pairLine`s, in their order, from position `offset` (from 0) on. */
export async function* readPairsFile(blobs: BlobStore, digest: Digest, offset = 0): AsyncGenerator<PreferencePair> {
  let position = 0;
  let rest: Buffer[] = [];
  for await (const chunk of blobs.read(digest)) {
    let from = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, from)) {
      const line = Buffer.concat([...rest, chunk.subarray(from, end)]);
      rest = [];
      from = end + 1;
      if (position >= offset) yield JSON.parse(line.toString()) as PreferencePair;
      position += 1;
    }
    rest.push(chunk.subarray(from));
  }
}

const batchBytes = 256 * 1024;

/** Texts as chunks of bytes that are worth writing. */
export async function* inBatches(lines: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  let batch: string[] = [];
  let size = 0;
  for await (const line of lines) {
    batch.push(line);
    size += line.length;
    if (size < batchBytes) continue;
    yield Buffer.from(batch.join(''));
    [batch, size] = [[], 0];
  }
  if (batch.length > 0) yield Buffer.from(batch.join(''));
}
