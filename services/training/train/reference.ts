import { PairwiseError } from '@pairwise/errors';
import { digestBytes, digestFromBytes, type Digest } from '@pairwise/fingerprint';
import { readSafetensors, writeSafetensors } from '@pairwise/safetensors';

/** Summed reference logps as safetensors: `responses` U8 [n, 32], sorted, and `logps` F64 [n], in nats. */
export function packReference(logps: ReadonlyMap<Digest, number>): Uint8Array {
  const entries = [...logps].sort(([a], [b]) => (a < b ? -1 : 1));
  const responses = Buffer.concat(entries.map(([digest]) => digestBytes(digest)));
  const values = Float64Array.from(entries, ([, value]) => value);
  return writeSafetensors([
    { name: 'logps', dtype: 'F64', shape: [entries.length], data: values },
    { name: 'responses', dtype: 'U8', shape: [entries.length, 32], data: responses },
  ]);
}

/** Reads what `packReference` wrote. Throws INVALID_FILE. */
export function unpackReference(bytes: Uint8Array): Map<Digest, number> {
  const tensors = readSafetensors(bytes, 'the reference logps of a training');
  const [values, responses] = [tensors.get('logps')?.data, tensors.get('responses')?.data];
  if (!(values instanceof Float64Array) || !(responses instanceof Uint8Array)) {
    const message = 'the reference logps of a training need a float64 tensor logps and a uint8 tensor responses';
    throw new PairwiseError('INVALID_FILE', message);
  }
  return new Map(Array.from(values, (value, i) => [digestFromBytes(responses.subarray(32 * i, 32 * i + 32)), value]));
}
