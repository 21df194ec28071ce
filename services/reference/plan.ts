import type { Digest } from '@pairwise/fingerprint';
import type { ModelConfig } from '@pairwise/model';
import { unpackPairs, type EncodedPair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import { forwardOperations, microBatchShape, workSize, type MicroBatchShape, type WorkSize } from '@pairwise/training';
import type { Logps } from './logps.ts';

/** A unit of work: the pairs from `start` to `end` (exclusive) of one shard of an encoding. */
export interface Unit {
  shard: Digest;
  start: number;
  end: number;
}

/** How long a unit should take: long enough that its overhead does not matter, short enough that a lost worker costs little. */
const unitSeconds = 15;
/** The most pairs of a unit, so that progress is visible with a small model or a fast device, too. */
const mostPairs = 256;

/**
 * The most multiply-adds of a unit: 15 seconds at the rate that was measured on a numerics profile. Where nothing was measured,
 * the first guess is 5e12 per second on CUDA, which a small card reaches in float32, and otherwise 1e11, as two cores with
 * AVX-512 do.
 */
export function unitOperations(numericsProfile: string, rate?: number): number {
  const firstGuess = numericsProfile.startsWith('cuda/') ? 5e12 : 1e11;
  return unitSeconds * (rate ?? firstGuess);
}

/** The digests of the pairs' responses, in order: chosen, rejected, chosen, ... */
export function responsesOf(pairs: readonly EncodedPair[]): Digest[] {
  return pairs.flatMap(({ chosenDigest, rejectedDigest }) => [chosenDigest, rejectedDigest]);
}

/** The pairs with a response that is not present. */
export function missingPairs(pairs: readonly EncodedPair[], present: ReadonlySet<Digest>): EncodedPair[] {
  return pairs.filter((pair) => responsesOf([pair]).some((response) => !present.has(response)));
}

/**
 * Cuts a shard into units of similar work, at most `mostOperations` multiply-adds unless a pair alone has more, and returns
 * those with a response that is not present. The bounds depend on nothing else than the pairs, the model and that limit.
 */
export function planUnits(
  shard: Digest,
  pairs: readonly EncodedPair[],
  present: ReadonlySet<Digest>,
  config: ModelConfig,
  mostOperations: number,
): Unit[] {
  const units: Unit[] = [];
  let start = 0;
  let operations = 0;
  pairs.forEach((pair, index) => {
    const own = forwardOperations(config, workSize([pair]));
    if (index > start && (operations + own > mostOperations || index - start === mostPairs)) {
      units.push({ shard, start, end: index });
      start = index;
      operations = 0;
    }
    operations += own;
  });
  if (start < pairs.length) units.push({ shard, start, end: pairs.length });
  return units.filter((unit) => missingPairs(pairs.slice(unit.start, unit.end), present).length > 0);
}

/** What an encoding needs under a reference. */
export interface PlanInputs {
  referenceFingerprint: Digest;
  /** Digests of the encoding's shards, in canonical order. */
  shards: readonly Digest[];
  config: ModelConfig;
  /** The most multiply-adds of a unit. */
  mostOperations: number;
}

/** What there is to compute for an encoding. */
export interface Plan {
  /** Distinct responses of the encoding. */
  responseCount: number;
  /** Those of them that are in the store. */
  presentCount: number;
  /** The size of the pairs with a response that is not. */
  missing: WorkSize;
  /** A bound on the micro-batches of these pairs. */
  shape: MicroBatchShape;
  /** The units with such pairs. */
  units: Unit[];
}

/** Plans the units of an encoding, shard by shard, and adds up what they compute. */
export async function planEncoding(
  { blobs, logps }: { blobs: BlobStore; logps: Logps },
  { referenceFingerprint, shards, config, mostOperations }: PlanInputs,
): Promise<Plan> {
  const responses = new Set<Digest>();
  const present = new Set<Digest>();
  const plan: Omit<Plan, 'responseCount' | 'presentCount'> = {
    missing: { rows: 0, targets: 0 },
    shape: { rows: 0, targets: 0, longestRows: 0 },
    units: [],
  };
  for (const shard of shards) {
    const pairs = unpackPairs(await blobs.get(shard));
    const own = responsesOf(pairs);
    for (const response of own) responses.add(response);
    for (const response of await logps.present(referenceFingerprint, own)) present.add(response);
    plan.units.push(...planUnits(shard, pairs, present, config, mostOperations));
    const missing = missingPairs(pairs, present);
    const [size, shape] = [workSize(missing), microBatchShape(missing)];
    plan.missing = { rows: plan.missing.rows + size.rows, targets: plan.missing.targets + size.targets };
    // A micro-batch never has pairs of two shards.
    plan.shape = largerShape(plan.shape, shape);
  }
  return { ...plan, responseCount: responses.size, presentCount: present.size };
}

function largerShape(a: MicroBatchShape, b: MicroBatchShape): MicroBatchShape {
  return {
    rows: Math.max(a.rows, b.rows),
    targets: Math.max(a.targets, b.targets),
    longestRows: Math.max(a.longestRows, b.longestRows),
  };
}

/** The pairs of a unit. */
export async function unitPairs(blobs: BlobStore, { shard, start, end }: Unit): Promise<EncodedPair[]> {
  return unpackPairs(await blobs.get(shard)).slice(start, end);
}
