import { PairwiseError } from '@pairwise/errors';
import { digestBytes, type Digest } from '@pairwise/fingerprint';
import { readSafetensors, writeSafetensors } from '@pairwise/safetensors';

/** log p of each token of a response under the reference, in nats. */
export interface ResponseLogps {
  response: Digest;
  tokenLogps: Float32Array;
}

/**
 * A shard as safetensors: `token_logps` F32 [tokens], response after response. `counts` I32 [responses] and `responses`
 * U8 [responses, 32], the digests, make a shard readable without the index.
 */
export function packShard(entries: readonly ResponseLogps[]): Uint8Array {
  const tokenLogps = new Float32Array(entries.reduce((sum, entry) => sum + entry.tokenLogps.length, 0));
  const digests = new Uint8Array(entries.length * 32);
  let at = 0;
  entries.forEach((entry, index) => {
    tokenLogps.set(entry.tokenLogps, at);
    at += entry.tokenLogps.length;
    digests.set(digestBytes(entry.response), index * 32);
  });
  const counts = Int32Array.from(entries, (entry) => entry.tokenLogps.length);
  return writeSafetensors([
    { name: 'token_logps', dtype: 'F32', shape: [tokenLogps.length], data: tokenLogps },
    { name: 'counts', dtype: 'I32', shape: [counts.length], data: counts },
    { name: 'responses', dtype: 'U8', shape: [entries.length, 32], data: digests },
  ]);
}

/** The `token_logps` of a shard. Throws INVALID_FILE. */
export function unpackShard(bytes: Uint8Array): Float32Array {
  const values = readSafetensors(bytes).get('token_logps')?.data;
  if (values instanceof Float32Array) return values;
  throw new PairwiseError('INVALID_FILE', 'a shard of reference logps has no float32 tensor token_logps');
}
