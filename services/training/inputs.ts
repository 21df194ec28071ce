import { FileInfo, type Encoding, type StartTrainingRequest } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { digestOf, type Digest } from '@pairwise/fingerprint';
import { unpackPairs, type EncodedPair } from '@pairwise/preference';
import { readSafetensors, writeSafetensors } from '@pairwise/safetensors';
import type { BlobStore } from '@pairwise/store';
import { sum, type TrainingPair } from '@pairwise/training';
import type { Peers } from './peers.ts';

/** Everything that a training reads, by digest: gathered once, so that every segment works on the same. */
export interface TrainingInputs {
  /** The model's files, as proto JSON. */
  files: unknown[];
  shards: Digest[];
  evalShards: Digest[];
  /** Blob with the summed reference logps of all responses, see `writeReference`. */
  reference: Digest;
  pairCount: number;
  evalPairCount: number;
}

/**
 * Gathers the inputs of a training. Throws MISSING_LOGPS where the coverage lacks a response, and the signal's reason once
 * that is aborted.
 */
export async function gatherInputs(
  blobs: BlobStore,
  peers: Peers,
  request: StartTrainingRequest,
  signal: AbortSignal,
): Promise<TrainingInputs> {
  const { model } = await peers.model.getModel({ name: request.model }, { signal });
  const { encoding } = await peers.dataset.getEncoding({ name: request.encoding }, { signal });
  const evaluation =
    request.evaluation?.$case === 'evalEncoding'
      ? (await peers.dataset.getEncoding({ name: request.evaluation.value }, { signal })).encoding
      : undefined;
  const logps = new Map<Digest, number>();
  for (const name of [request.coverage, ...(evaluation === undefined ? [] : [request.evalCoverage])]) {
    for await (const { responseDigest, tokenLogps } of peers.reference.readLogps({ name }, { signal })) {
      logps.set(responseDigest as Digest, sum(Float32Array.from(tokenLogps)));
    }
  }
  const { digest: reference } = await blobs.put(writeReference(logps));
  const [shards, evalShards] = [shardsOf(encoding), shardsOf(evaluation)];
  const inputs = { files: model!.files.map((file) => FileInfo.toJSON(file)), shards, evalShards, reference };
  const { pairs, evalPairs } = await readPairs(
    blobs,
    { ...inputs, pairCount: 0, evalPairCount: 0 },
    fractionOf(request),
  );
  if (pairs.length === 0) {
    const message = 'encoding: no pairs are left to train on; hold out less, or raise max_length';
    throw new PairwiseError('EMPTY_DATASET', message, { field: 'encoding' });
  }
  return { ...inputs, pairCount: pairs.length, evalPairCount: evalPairs.length };
}

/** The share of the pairs that is held out. */
export function fractionOf({ evaluation }: StartTrainingRequest): number {
  return evaluation?.$case === 'evalFraction' ? evaluation.value : 0;
}

/** The pairs to train and to evaluate on, with their reference logps. Throws MISSING_LOGPS. */
export async function readPairs(blobs: BlobStore, inputs: TrainingInputs, evalFraction: number) {
  const reference = readReference(await blobs.get(inputs.reference));
  const read = async (shards: readonly Digest[]) => {
    const pairs = await Promise.all(shards.map(async (shard) => unpackPairs(await blobs.get(shard))));
    return pairs.flat().map((pair) => ({ pair, trained: withReference(pair, reference) }));
  };
  const all = await read(inputs.shards);
  const held = (pair: EncodedPair) => isHeldOut(pair.pairDigest, evalFraction);
  return {
    pairs: all.filter(({ pair }) => !held(pair)).map(({ trained }) => trained),
    evalPairs: [...all.filter(({ pair }) => held(pair)), ...(await read(inputs.evalShards))].map(
      ({ trained }) => trained,
    ),
  };
}

/** Whether a pair is in the held-out share: its digest decides, so that the split survives changes of the dataset. */
export function isHeldOut(pairDigest: Digest, fraction: number): boolean {
  const position = Number.parseInt(pairDigest.slice('sha256:'.length, 'sha256:'.length + 12), 16) / 2 ** 48;
  return position < fraction;
}

function shardsOf(encoding: Encoding | undefined): Digest[] {
  return (encoding?.shardDigests ?? []) as Digest[];
}

function withReference(pair: EncodedPair, reference: ReadonlyMap<string, number>): TrainingPair {
  const logps = (response: Digest) => {
    const value = reference.get(response);
    if (value !== undefined) return value;
    throw new PairwiseError('MISSING_LOGPS', `the coverage has no reference logps of the response ${response}`);
  };
  const { prompt, chosen, rejected, chosenDigest, rejectedDigest } = pair;
  return { prompt, chosen, rejected, referenceChosen: logps(chosenDigest), referenceRejected: logps(rejectedDigest) };
}

/** Summed reference logps as safetensors: `responses` U8 [n, 32], sorted, and `logps` F64 [n], in nats. */
function writeReference(logps: ReadonlyMap<Digest, number>): Uint8Array {
  const entries = [...logps].sort(([a], [b]) => (a < b ? -1 : 1));
  const digests = Buffer.from(entries.map(([digest]) => digest.slice('sha256:'.length)).join(''), 'hex');
  const values = Float64Array.from(entries, ([, value]) => value);
  return writeSafetensors([
    { name: 'logps', dtype: 'F64', shape: [entries.length], data: values },
    { name: 'responses', dtype: 'U8', shape: [entries.length, 32], data: digests },
  ]);
}

function readReference(bytes: Uint8Array): Map<string, number> {
  const tensors = readSafetensors(bytes, 'the reference logps of a training');
  const values = tensors.get('logps')?.data as Float64Array;
  const digests = Buffer.from(tensors.get('responses')?.data as Uint8Array).toString('hex');
  return new Map(Array.from(values, (value, i) => [`sha256:${digests.slice(i * 64, i * 64 + 64)}`, value]));
}

/** Digest by which a worker knows whether the model that it has open is the one. */
export function filesKey(files: readonly unknown[]): Digest {
  return digestOf(Buffer.from(JSON.stringify(files)));
}
