/** The number of padded attention blocks in a batch. It is fixed, so that a graph can have one branch for each. */
export const groupCount = 4;

/**
 * Puts trees into at most `groupCount` groups of similar length, such that the padded score matrices (count times longest
 * length squared) have the fewest cells. It is dynamic programming over the sorted lengths.
 * Returns the trees' positions, the longest first in each group.
 */
export function groupByLength(lengths: readonly number[]): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const count = order.length;
  // cost[k][end] is the least cost of the first `end` trees in k groups; cut[k][end] is where the last of these groups begins.
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
