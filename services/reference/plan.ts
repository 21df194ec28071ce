import type { Digest } from '@pairwise/fingerprint';
import { unpackPairs, type EncodedPair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';

/** A unit of work: the pairs from `start` to `end` (exclusive) of one shard of an encoding. */
export interface Unit {
  shard: Digest;
  start: number;
  end: number;
}

/** Multiply-adds of one unit: about ten seconds on two cores. */
const unitOperations = 1e12;
/** The most pairs of a unit, so that progress is visible and a lost worker costs little. */
const mostPairs = 256;

/** The digests of the pairs' responses, in order: chosen, rejected, chosen, ... */
export function responsesOf(pairs: readonly EncodedPair[]): Digest[] {
  return pairs.flatMap(({ chosenDigest, rejectedDigest }) => [chosenDigest, rejectedDigest]);
}

/** The pairs with a response that is not present. */
export function missingPairs(pairs: readonly EncodedPair[], present: ReadonlySet<Digest>): EncodedPair[] {
  return pairs.filter((pair) => responsesOf([pair]).some((response) => !present.has(response)));
}

/**
 * Cuts a shard into units of similar work, and returns those with a response that is not present. The bounds depend only
 * on the pairs and the model, so a repeated plan names the same units.
 */
export function planUnits(
  shard: Digest,
  pairs: readonly EncodedPair[],
  present: ReadonlySet<Digest>,
  parameterCount: number,
): Unit[] {
  const tokenLimit = unitOperations / Math.max(1, parameterCount);
  const units: Unit[] = [];
  let start = 0;
  let tokens = 0;
  pairs.forEach(({ prompt, chosen, rejected }, index) => {
    const own = prompt.length + chosen.length + rejected.length;
    if (index > start && (tokens + own > tokenLimit || index - start === mostPairs)) {
      units.push({ shard, start, end: index });
      start = index;
      tokens = 0;
    }
    tokens += own;
  });
  if (start < pairs.length) units.push({ shard, start, end: pairs.length });
  return units.filter((unit) => missingPairs(pairs.slice(unit.start, unit.end), present).length > 0);
}

/** The pairs of a unit. */
export async function unitPairs(blobs: BlobStore, { shard, start, end }: Unit): Promise<EncodedPair[]> {
  return unpackPairs(await blobs.get(shard)).slice(start, end);
}
