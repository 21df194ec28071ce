/** Logps of the tokens of responses, in nats. */
export type TokenLogps = readonly ArrayLike<number>[];

/** Mean absolute difference of two models' logps per token. */
export function meanAbsDifference(left: TokenLogps, right: TokenLogps): number {
  let [sum, count] = [0, 0];
  for (const [index, logps] of left.entries()) {
    for (let token = 0; token < logps.length; token++) sum += Math.abs(logps[token]! - right[index]![token]!);
    count += logps.length;
  }
  return sum / count;
}

/**
 * Mean margin of pairs, in nats and without the factor beta, and the share of pairs whose margin is positive. The responses
 * are the chosen and the rejected one of each pair in turn.
 */
export function pairFigures(policy: TokenLogps, reference: TokenLogps): { margin: number; accuracy: number } {
  const logratios = policy.map((logps, index) => total(logps) - total(reference[index]!));
  const margins = logratios
    .filter((_, index) => index % 2 === 0)
    .map((chosen, pair) => chosen - logratios[2 * pair + 1]!);
  const margin = margins.reduce((sum, each) => sum + each, 0) / margins.length;
  return { margin, accuracy: margins.filter((each) => each > 0).length / margins.length };
}

function total(logps: ArrayLike<number>): number {
  return Array.from(logps).reduce((sum, logp) => sum + logp, 0);
}
