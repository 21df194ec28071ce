import { ops, type GraphBuilder, type Value } from '@pairwise/onnx';

/** policy logps - reference logps of both responses, in nats. */
export interface Logratios<T> {
  chosenLogratio: T;
  rejectedLogratio: T;
}

export interface LossSettings<T> {
  beta: T;
  labelSmoothing: T;
}

/** A preference loss in both of its forms. `losses.spec.ts` compares them for every entry of the table. */
export interface Loss {
  /** The losses of P pairs as nodes of a graph: `[P, 1]`. Logratios are `[P, 1]`, settings are scalars. */
  graph(g: GraphBuilder, logratios: Logratios<Value>, settings: LossSettings<Value>): Value;
  /** The loss of one pair, in float64. */
  number(logratios: Logratios<number>, settings: LossSettings<number>): number;
  /** The loss at the start of a training, where the policy equals the reference and all logratios are 0. */
  start(settings: LossSettings<number>): number;
}

const table = {
  /**
   * DPO, Eq. 7 of arXiv 2305.18290: -log sigmoid(x) with x = beta (chosenLogratio - rejectedLogratio).
   * Label smoothing e, from "A note on DPO with noisy preferences" (conservative DPO):
   * -(1 - e) log sigmoid(x) - e log sigmoid(-x) = softplus(-x) + e x, which is finite for every x.
   */
  sigmoid: {
    graph(g, { chosenLogratio, rejectedLogratio }, { beta, labelSmoothing }) {
      const { add, mul, neg, softplus, sub } = ops(g);
      const x = mul(sub(chosenLogratio, rejectedLogratio), beta); // [P, 1]
      return add(softplus(neg(x)), mul(x, labelSmoothing)); // [P, 1]
    },
    number({ chosenLogratio, rejectedLogratio }, { beta, labelSmoothing }) {
      const x = beta * (chosenLogratio - rejectedLogratio);
      return softplus(-x) + labelSmoothing * x;
    },
    start: () => Math.LN2, // softplus(0) + e 0
  },
} satisfies Record<string, Loss>;

export type LossType = keyof typeof table;

/**
 * Every loss by its name in the API. The training graph, the evaluation, the check of the first loss and the server's list
 * of loss types all read this table, so a new loss is one more entry.
 */
export const losses: Readonly<Record<LossType, Loss>> = table;
export const lossTypes = Object.keys(table) as LossType[];

/** log(1 + exp(x)) without overflow. */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** Logps of one pair: sums over response tokens, in nats. */
export interface PairLogps {
  policyChosen: number;
  policyRejected: number;
  referenceChosen: number;
  referenceRejected: number;
}

export function logratios(pair: PairLogps): Logratios<number> {
  const { policyChosen, policyRejected, referenceChosen, referenceRejected } = pair;
  return { chosenLogratio: policyChosen - referenceChosen, rejectedLogratio: policyRejected - referenceRejected };
}

/** What a training minimises: its only loss, times a weight. */
export interface Objective extends LossSettings<number> {
  losses: [{ type: LossType; weight: number }];
}

/** The weighted mean loss of pairs, in float64. */
export function meanLoss(pairs: readonly PairLogps[], objective: Objective): number {
  const [{ type, weight }] = objective.losses;
  const total = pairs.reduce((sum, pair) => sum + losses[type].number(logratios(pair), objective), 0);
  return (weight * total) / pairs.length;
}

/** The weighted loss at the start of a training, where the policy equals the reference. */
export function startLoss(objective: Objective): number {
  const [{ type, weight }] = objective.losses;
  return weight * losses[type].start(objective);
}
