import { logratios, type PairLogps } from './losses.ts';

/** Figures of a step by their usual names, such as `rewards/margins`. */
export type Metrics = Record<string, number>;

/** Means over a batch. Accuracy counts margins above 0; a tie does not count. */
export function batchMetrics(pairs: readonly PairLogps[], beta: number): Metrics {
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

/**
 * How unevenly a router distributes tokens: in the worst layer, how many times its fair share the busiest expert had. 1 is
 * even. `loads` are the tokens of each expert, for each layer.
 */
export function expertLoad(loads: readonly Float32Array[]): number {
  return Math.max(...loads.map((load) => (Math.max(...load) * load.length) / load.reduce((a, b) => a + b, 0)));
}
