/** Padded attention blocks of a batch: at most so many, so that a graph can have one branch for each. */
export const groupCount = 4;

/**
 * Sorts trees into at most `groupCount` groups of similar length, so that the cells of the padded score matrices,
 * count times longest squared, are fewest: dynamic programming over the sorted lengths.
 * Returns the trees' positions, longest first in each group.
 */
export function groupByLength(lengths: readonly number[]): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const count = order.length;
  // cost[k][end]: least cost of the first `end` in k groups; cut[k][end]: where the last of them begins.
  const cost = Array.from({ length: groupCount + 1 }, () => new Float64Array(count + 1).fill(Infinity));
  const cut = Array.from({ length: groupCount + 1 }, () => new Int32Array(count + 1));
  cost[0]![0] = 0;
  for (let k = 1; k <= groupCount; k++) {
    for (let start = 0; start < count; start++) {
      const square = lengths[order[start]!]! ** 2;
      for (let end = start + 1; end <= count; end++) {
        const total = cost[k - 1]![start]! + (end - start) * square;
        if (total < cost[k]![end]!) {
          cost[k]![end] = total;
          cut[k]![end] = start;
        }
      }
    }
  }
  let k = 1;
  for (let more = 2; more <= groupCount; more++) if (cost[more]![count]! < cost[k]![count]!) k = more;
  const groups: number[][] = [];
  for (let end = count; k > 0; k--) {
    const start = cut[k]![end]!;
    groups.unshift(order.slice(start, end));
    end = start;
  }
  return groups;
}
