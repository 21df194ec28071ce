/** Logps of one pair: sums over response tokens, in nats. */
export interface PairLogps {
  policyChosen: number;
  policyRejected: number;
  referenceChosen: number;
  referenceRejected: number;
}

/** policy logps - reference logps of both responses. */
export function logratios({ policyChosen, policyRejected, referenceChosen, referenceRejected }: PairLogps) {
  return { chosenLogratio: policyChosen - referenceChosen, rejectedLogratio: policyRejected - referenceRejected };
}

/**
 * DPO loss of each pair, Eq. 7 of arXiv 2305.18290, in float64. loss = -(1 - e) log sigmoid(x) - e log sigmoid(-x) with
 * x = beta * (chosenLogratio - rejectedLogratio) and e the label smoothing (conservative DPO); softplus keeps it finite
 * for any margin.
 */
export function dpoLosses(pairs: readonly PairLogps[], beta: number, labelSmoothing = 0): number[] {
  return pairs.map((pair) => {
    const { chosenLogratio, rejectedLogratio } = logratios(pair);
    const rewardMargin = beta * (chosenLogratio - rejectedLogratio);
    return softplus(-rewardMargin) + labelSmoothing * rewardMargin;
  });
}

/** log(1 + exp(x)) without overflow. */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** Means over a batch under the field's names. Accuracy counts margins above 0; a tie is no success. */
export function batchMetrics(pairs: readonly PairLogps[], beta: number): Record<string, number> {
  const mean = (value: (pair: PairLogps) => number) => pairs.reduce((sum, pair) => sum + value(pair), 0) / pairs.length;
  const chosenReward = mean((pair) => beta * logratios(pair).chosenLogratio);
  const rejectedReward = mean((pair) => beta * logratios(pair).rejectedLogratio);
  return {
    'rewards/chosen': chosenReward,
    'rewards/rejected': rejectedReward,
    'rewards/accuracies': mean((pair) => {
      const { chosenLogratio, rejectedLogratio } = logratios(pair);
      return chosenLogratio > rejectedLogratio ? 1 : 0;
    }),
    'rewards/margins': chosenReward - rejectedReward,
    'logps/chosen': mean(({ policyChosen }) => policyChosen),
    'logps/rejected': mean(({ policyRejected }) => policyRejected),
  };
}
