import { FileInfo, type Encoding, type StartTrainingRequest } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { digestOf, fingerprintOf, hexOf, parseDigest, type Digest } from '@pairwise/fingerprint';
import { unpackPairs, type EncodedPair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import { sum, type TrainingPair } from '@pairwise/training';
import type { Peers } from '../peers.ts';
import { heldOutFraction } from '../trainings/record.ts';
import { packReference, unpackReference } from './reference.ts';

/** Everything that a training reads, by digest. It is gathered once, so that every segment reads the same. */
export interface TrainingInputs {
  /** The model's files, as proto JSON. */
  files: unknown[];
  shards: Digest[];
  evalShards: Digest[];
  /** The blob with the reference logps of all responses; see `packReference`. */
  reference: Digest;
  pairCount: number;
  evalPairCount: number;
}

/**
 * Gathers the inputs of a training. Throws MISSING_LOGPS if the coverage lacks a response, EMPTY_DATASET, and the signal's
 * reason once the signal is aborted.
 */
export async function gatherInputs(
  { blobs, peers, openPairs }: { blobs: BlobStore; peers: Peers; openPairs: OpenPairs },
  request: StartTrainingRequest,
  signal: AbortSignal,
): Promise<TrainingInputs> {
  const { model } = await peers.model.getModel({ name: request.model }, { signal });
  const getEncoding = async (name: string) => (await peers.dataset.getEncoding({ name }, { signal })).encoding!;
  const encoding = await getEncoding(request.encoding);
  const coverages = [request.coverage];
  const evalShards: Digest[] = [];
  if (request.evaluation?.$case === 'evalEncoding') {
    evalShards.push(...shardsOf(await getEncoding(request.evaluation.value)));
    coverages.push(request.evalCoverage);
  }
  const { digest: reference } = await blobs.put(packReference(await readLogps(peers, coverages, signal)));
  const files = model!.files.map((file) => FileInfo.toJSON(file));
  const inputs = { files, shards: shardsOf(encoding), evalShards, reference };
  const { pairs, evalPairs } = await openPairs(inputs, heldOutFraction(request));
  if (pairs.length === 0) {
    const message = 'encoding: no pairs are left to train on; hold out less, or raise max_length';
    throw new PairwiseError('EMPTY_DATASET', message, { field: 'encoding' });
  }
  return { ...inputs, pairCount: pairs.length, evalPairCount: evalPairs.length };
}

/** The summed reference logps of all responses of some coverages, in nats. */
async function readLogps(
  peers: Peers,
  coverages: readonly string[],
  signal: AbortSignal,
): Promise<Map<Digest, number>> {
  const logps = new Map<Digest, number>();
  for (const name of coverages) {
    for await (const { responseDigest, tokenLogps } of peers.reference.readLogps({ name }, { signal })) {
      logps.set(parseDigest(responseDigest), sum(Float32Array.from(tokenLogps)));
    }
  }
  return logps;
}

/** The pairs of a training. */
export interface TrainingPairs {
  pairs: TrainingPair[];
  /** The pairs to evaluate on. */
  evalPairs: TrainingPair[];
}

/** What says which pairs a training has. */
type PairInputs = Pick<TrainingInputs, 'shards' | 'evalShards' | 'reference'>;

/** Reads the pairs of a training like `readTrainingPairs`, unless they are in memory. */
export type OpenPairs = (inputs: PairInputs, evalFraction: number) => Promise<TrainingPairs>;

/** A worker has the pairs of one training in memory at a time. They stay there from segment to segment. */
export function openTrainingPairs(blobs: BlobStore): OpenPairs {
  let current: { key: Digest; pairs: TrainingPairs } | undefined;
  return async ({ shards, evalShards, reference }, evalFraction) => {
    const key = fingerprintOf({ shards, evalShards, reference, evalFraction });
    if (current?.key !== key) {
      current = undefined; // There may not be memory for the pairs of two trainings.
      current = { key, pairs: await readTrainingPairs(blobs, { shards, evalShards, reference }, evalFraction) };
    }
    return current.pairs;
  };
}

/** The pairs of a training with their reference logps. Throws MISSING_LOGPS. */
export async function readTrainingPairs(
  blobs: BlobStore,
  { shards, evalShards, reference }: PairInputs,
  evalFraction: number,
): Promise<TrainingPairs> {
  const logps = unpackReference(await blobs.get(reference));
  const read = async (digests: readonly Digest[]) => {
    const pairs = await Promise.all(digests.map(async (shard) => unpackPairs(await blobs.get(shard))));
    return pairs.flat().map((pair) => ({ pair, trained: withReference(pair, logps) }));
  };
  const all = await read(shards);
  const held = (pair: EncodedPair) => isHeldOut(pair.pairDigest, evalFraction);
  const evaluated = [...all.filter(({ pair }) => held(pair)), ...(await read(evalShards))];
  return {
    pairs: all.filter(({ pair }) => !held(pair)).map(({ trained }) => trained),
    evalPairs: evaluated.map(({ trained }) => trained),
  };
}

/** Whether a pair is held out. Its digest decides, so that the split survives changes of the dataset. */
export function isHeldOut(pairDigest: Digest, fraction: number): boolean {
  // The first 48 bits, as a number from 0 to below 1.
  return Number.parseInt(hexOf(pairDigest).slice(0, 12), 16) / 2 ** 48 < fraction;
}

function shardsOf({ shardDigests }: Encoding): Digest[] {
  return shardDigests.map(parseDigest);
}

function withReference(pair: EncodedPair, reference: ReadonlyMap<Digest, number>): TrainingPair {
  const logps = (response: Digest) => {
    const value = reference.get(response);
    if (value !== undefined) return value;
    throw new PairwiseError('MISSING_LOGPS', `the coverage has no reference logps of the response ${response}`);
  };
  const { pairDigest, prompt, chosen, rejected } = pair;
  const [referenceChosen, referenceRejected] = [logps(pair.chosenDigest), logps(pair.rejectedDigest)];
  return { pairDigest, prompt, chosen, rejected, referenceChosen, referenceRejected };
}

/** Digest by which a worker recognizes the model that it has open. */
export function filesKey(files: readonly unknown[]): Digest {
  return digestOf(Buffer.from(JSON.stringify(files)));
}
