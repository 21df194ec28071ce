import type { Expansion } from './expansion.ts';
import type { GraphBuilder, Node, Value } from './graph.ts';
import { ops } from './ops.ts';

/**
 * `TargetLogps` as a loop over chunks of the head's rows (R), with a running maximum and a running sum of exp(logit - maximum);
 * both shrink by exp(old maximum - new) when the maximum rises. The target's logit is a dot product of its own, and the first
 * maximum. For d logp / d hidden = head[target] - sum(p head), the loop also keeps the weighted sum of the head's rows. A head
 * that is stored in fewer bits than hidden is cast chunk by chunk.
 */
export const targetLogpsLoop: Expansion = (g, inputs, { attributes }, isUsed) => {
  const [hidden, head, targets] = inputs as [Value, Value, Value]; // [N, E], [V, E], [N]
  const { add, cast, div, gather, log, loop, mul, reduceSum, reshape, sub } = ops(g);
  const targetRows = cast(gather(head, targets), hidden.dtype); // [N, E]
  const target = capped(g, reduceSum(mul(targetRows, hidden), [-1]), attributes); // [N, 1]
  const rows = attributes.rows as number;
  const chunkCount = g.constant('int64', [1], [Math.ceil((head.shape[0] as number) / rows)]);
  const withSlope = isUsed(1);
  const start = [target.logits, mul(target.logits, 0), ...(withSlope ? [mul(targetRows, 0)] : [])];
  const states = start.map((initial) => ({ initial }));
  const [max, sum, weighted] = loop(chunkCount, states, (inner, index, [oldMax, oldSum, oldWeighted]) => {
    const o = ops(inner);
    const from = o.reshape(o.mul(index, rows), [1]);
    const chunk = o.cast(o.slice(head, 0, from, o.add(from, rows), 'R'), hidden.dtype); // [R, E]
    const { logits, slope } = capped(inner, o.gemm(hidden, chunk, { transB: true }), attributes); // [N, R]
    const newMax = o.max(oldMax!, o.reduceMax(logits, [-1])); // [N, 1]
    const shrink = o.exp(o.sub(oldMax!, newMax)); // [N, 1]
    const exps = o.exp(o.sub(logits, newMax)); // [N, R]
    const next = [newMax, o.add(o.mul(oldSum!, shrink), o.reduceSum(exps, [-1]))];
    if (!oldWeighted) return next;
    const weights = slope ? o.mul(exps, slope) : exps; // [N, R]
    return [...next, o.gemm(weights, chunk, { bias: o.mul(oldWeighted, shrink) })]; // [N, E]
  });
  const logps = reshape(sub(target.logits, add(log(sum!), max!)), [hidden.shape[0]!]); // [N]
  if (!weighted) return [logps];
  return [logps, sub(target.slope ? mul(targetRows, target.slope) : targetRows, div(weighted, sum!))];
};

/** Logits after the soft cap, if there is one, and then also their derivative 1 - tanh(logit / softcap)^2. */
function capped(g: GraphBuilder, logits: Value, { softcap }: Node['attributes']): { logits: Value; slope?: Value } {
  if (softcap === undefined) return { logits };
  const { add, div, mul, neg, tanh } = ops(g);
  const { float: cap } = softcap as { float: number };
  const bent = tanh(div(logits, cap));
  return { logits: mul(bent, cap), slope: add(neg(mul(bent, bent)), 1) };
}
