import { ops, product, type GraphBuilder, type Value } from '@pairwise/onnx';
import { expertName, routerName } from './linearModules.ts';

/** A mixture of experts: which MLPs a token goes through is decided by a router. */
export interface Experts {
  count: number;
  /** How many experts each token goes through. */
  perToken: number;
  intermediateSize: number;
  /** Whether the weights of a token's experts are divided by their sum. */
  normalized: boolean;
}

/** How the names of sizes begin that are the rows of one expert. */
export const expertRows = 'expert_rows/';

/**
 * The MLP block of a layer with experts: x `[T, E]` to `[T, E]`, and how many tokens each expert had, `[experts]`.
 *
 * Tokens are sorted by expert, so that each expert multiplies the rows that it has:
 *
 *     assignments  t0e2 t0e0 | t1e0 t1e1 | ...      K = perToken for each token            [T K]
 *     order        t0e0 t1e0 | t1e1 | t0e2 | ...    the same, by expert                    [T K]
 *     place        where each assignment went; both are gathers, and each is the other's gradient
 */
export function expertMlp(
  g: GraphBuilder,
  x: Value,
  layer: number,
  { count, perToken, normalized }: Experts,
  weight: (name: string) => Value,
): { added: Value; load: Value } {
  const { argsort, cast, concat, div, equal, gather, gatherRows, gemm, mul, reduceSum, reshape, sigmoid } = ops(g);
  const { softmax, splitBy, topIndices, unsqueeze } = ops(g);
  const numbers = g.constant(
    'int64',
    [count],
    Array.from({ length: count }, (_, expert) => expert),
  );
  const total = product(['T', perToken]);
  const probabilities = softmax(gemm(x, weight(routerName(layer)), { transB: true })); // [T, experts]
  const chosen = topIndices(probabilities, perToken); // [T, K]
  const isChosen = cast(equal(unsqueeze(chosen, [2]), numbers), x.dtype); // [T, K, experts]
  const raw = reduceSum(mul(unsqueeze(probabilities, [1]), isChosen), [-1], { keepDims: false }); // [T, K]
  const shares = normalized ? div(raw, reduceSum(raw, [-1])) : raw; // [T, K]

  const assignments = reshape(chosen, [total]); // [T K]
  const order = argsort(assignments); // [T K]
  const place = reshape(argsort(order), ['T', perToken]); // [T, K]
  const load = reduceSum(cast(equal(unsqueeze(assignments, [1]), numbers), 'int64'), [0], { keepDims: false }); // [experts]
  const inverses = Array.from({ length: perToken }, (_, k) => ({
    index: gather(place, g.constant('int64', [], [k]), 1), // [T]
    none: false,
  }));
  const sorted = gatherRows(x, { index: div(order, perToken), none: false }, inverses); // [T K, E]
  const sizes = Array.from({ length: count }, (_, expert) => `${expertRows}${x.name}/${expert}`);
  const outs = splitBy(sorted, 0, load, sizes).map((rows, expert) => {
    const of = (module: 'gate_proj' | 'up_proj' | 'down_proj') => weight(expertName(layer, expert, module));
    const gate = gemm(rows, of('gate_proj'), { transB: true }); // [rows, F]
    const up = gemm(rows, of('up_proj'), { transB: true }); // [rows, F]
    return gemm(mul(mul(gate, sigmoid(gate)), up), of('down_proj'), { transB: true }); // [rows, E]
  });
  const joined = concat(outs, 0, total); // [T K, E]
  const back = gatherRows(joined, { index: place, none: false }, [{ index: order, none: false }]); // [T, K, E]
  const added = reduceSum(mul(back, unsqueeze(shares, [2])), [1], { keepDims: false }); // [T, E]
  return { added, load };
}
