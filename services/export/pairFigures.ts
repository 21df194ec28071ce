/** Logps of the tokens of responses, in nats. */
export type TokenLogps = readonly ArrayLike<number>[];

/** How far two models' logps are apart per token, in nats. Both are NaN if a number is missing or NaN. */
export interface Differences {
  maxAbsLogpDiff: number;
  meanAbsLogpDiff: number;
}

/** Compares the logps of the same tokens. */
export function differencesOf(left: TokenLogps, right: TokenLogps): Differences & { tokenCount: number } {
  let [sum, most, tokenCount] = [0, 0, 0];
  for (const [index, logps] of left.entries()) {
    for (let token = 0; token < logps.length; token++) {
      const difference = Math.abs(logps[token]! - (right[index]?.[token] ?? NaN));
      sum += difference;
      most = Math.max(most, difference);
    }
    tokenCount += logps.length;
  }
  return { maxAbsLogpDiff: most, meanAbsLogpDiff: sum / tokenCount, tokenCount };
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
