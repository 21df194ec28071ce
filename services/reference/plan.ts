import type { Digest } from '@pairwise/fingerprint';
import type { EncodedPair } from '@pairwise/preference';

/** A bounded piece of work: the pairs from `start` to `end` (exclusive) of one shard of an encoding. */
export interface Unit {
  shard: Digest;
  start: number;
  end: number;
}

/** Arithmetic of one unit, in multiply-adds: some ten seconds on two cores. */
const unitOperations = 1e12;
/** Most pairs of a unit, so that progress shows and a lost worker costs little. */
const unitPairs = 256;

/** The responses of pairs, in order. */
export function responsesOf(pairs: readonly EncodedPair[]): Digest[] {
  return pairs.flatMap(({ chosenDigest, rejectedDigest }) => [chosenDigest, rejectedDigest]);
}

/** The pairs of which a response is missing. */
export function missingPairs(pairs: readonly EncodedPair[], present: ReadonlySet<Digest>): EncodedPair[] {
  return pairs.filter((pair) => responsesOf([pair]).some((response) => !present.has(response)));
}

/**
 * Cuts a shard into units of similar work that together hold every pair of which a response is missing.
 * Units depend on the pairs and the model alone, so that a repeated plan names the same units.
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
    if (index > start && (tokens + own > tokenLimit || index - start === unitPairs)) {
      units.push({ shard, start, end: index });
      start = index;
      tokens = 0;
    }
    tokens += own;
  });
  if (start < pairs.length) units.push({ shard, start, end: pairs.length });
  return units.filter((unit) => missingPairs(pairs.slice(unit.start, unit.end), present).length > 0);
}
