/*
 * `PackedAttention` and its gradient as loops over chunks of queries. In the comments at the ends of lines, C are the rows of
 * a chunk's queries and K those of its keys; T rows, H query heads, G key-value heads, R = H / G, D head size.
 */
import type { Expansion } from './expansion.ts';
import type { GraphBuilder, Node, Value } from './graph.ts';
import { ops } from './ops.ts';

type Inputs = readonly [q: Value, k: Value, v: Value, ...rows: [Value, Value, Value, Value], ...gradient: Value[]];

export const attentionLoop: Expansion = (g, inputs, { attributes }) => {
  const [q, k, v, , , , chunks] = inputs as Inputs;
  const { cast, loop, sizeOf, transpose } = ops(g);
  const [rows, heads, width] = q.shape as [string, number, number];
  const [keys, values] = [transpose(k, [1, 0, 2]), transpose(v, [1, 0, 2])]; // [G, T, D]
  const empty = cast(g.constant('float32', [0, heads, width], []), q.dtype);
  const states = [{ initial: empty, within: ['done', heads, width], after: [rows, heads, width] }];
  return loop(sizeOf(chunks, 0), states, (inner, index, [out]) => {
    const { concat, matMul } = ops(inner);
    const chunk = chunkOf(inner, index, inputs as Inputs, keys, values);
    const { weights } = attentionWeights(inner, chunk, attributes);
    const attended = matMul(weights, chunk.values); // [G, R C, D]
    return [concat([out!, chunk.toRows(attended)], 0)]; // [done + C, H, D]
  });
};

/**
 * With the weights P = softmax(S), S = q k^T and delta = sum(y dy) = sum(P dP):
 * dv = P^T dy, dP = dy v^T, dS = P (dP - delta), dq = dS k, dk = dS^T q. Nothing but y was kept: P is computed again.
 */
export const attentionGradientLoop: Expansion = (g, inputs, { attributes }) => {
  const [q, k, v, , , , chunks, y, dy] = inputs as Inputs;
  const { cast, loop, mul, reduceSum, sizeOf, transpose } = ops(g);
  const [rows, heads, width] = q.shape as [string, number, number];
  const groups = k.shape[1] as number;
  const [keys, values] = [transpose(k, [1, 0, 2]), transpose(v, [1, 0, 2])]; // [G, T, D]
  const delta = reduceSum(mul(y!, dy!), [-1]); // [T, H, 1]
  const empty = (...shape: number[]) => cast(g.constant('float32', shape, []), q.dtype);
  const growing = { initial: empty(groups, 0, width), within: [groups, 'done', width], after: [groups, rows, width] };
  const states = [
    { initial: empty(0, heads, width), within: ['done', heads, width], after: [rows, heads, width] },
    growing,
    growing,
  ];
  const [dq, dk, dv] = loop(sizeOf(chunks, 0), states, (inner, index, [dqDone, dkDone, dvDone]) => {
    const o = ops(inner);
    const chunk = chunkOf(inner, index, inputs as Inputs, keys, values);
    const { weights, slope } = attentionWeights(inner, chunk, attributes); // [G, R C, K]
    const dOut = chunk.queryRows(dy!); // [G, R C, D]
    const dWeights = o.matMul(dOut, o.transpose(chunk.values, [0, 2, 1])); // [G, R C, K]
    const centred = o.mul(weights, o.sub(dWeights, chunk.queryRows(delta))); // [G, R C, K]
    const dScores = slope ? o.mul(centred, slope) : centred; // [G, R C, K]
    return [
      o.concat([dqDone!, chunk.toRows(o.matMul(dScores, chunk.keys))], 0),
      chunk.addToKeys(dkDone!, o.matMul(o.transpose(dScores, [0, 2, 1]), chunk.queries)),
      chunk.addToKeys(dvDone!, o.matMul(o.transpose(weights, [0, 2, 1]), dOut)),
    ];
  });
  return [dq!, transpose(dk!, [1, 0, 2]), transpose(dv!, [1, 0, 2])];
};

interface Chunk {
  readonly heads: number;
  readonly queries: Value; // [G, R C, D]
  readonly keys: Value; // [G, K, D]
  readonly values: Value; // [G, K, D]
  /** What each query sees: 0, or a number so low that exp gives 0. */
  readonly mask: (window: number | undefined, dtype: Value['dtype']) => Value; // [C, K]
  /** The query rows of x `[T, H, ...]`, with the R heads of a key-value head one after the other: `[G, R C, ...]`. */
  readonly queryRows: (x: Value) => Value;
  /** The inverse of `queryRows`: `[C, H, D]`. */
  readonly toRows: (x: Value) => Value;
  /** `done` `[G, rows so far, D]` with rows for the queries of this chunk, and x `[G, K, D]` added to its last K rows. */
  readonly addToKeys: (done: Value, x: Value) => Value;
}

function chunkOf(g: GraphBuilder, index: Value, inputs: Inputs, allKeys: Value, allValues: Value): Chunk {
  const [q, , , positions, branches, prefixes, chunks] = inputs;
  const { add, and, cast, concat, equal, gather, less, lessOrEqual, or, padEnd, reshape, slice, split, sub } = ops(g);
  const { transpose, where } = ops(g);
  const [, heads, width] = q.shape as [string, number, number];
  const groups = allKeys.shape[0] as number;
  const [start, end, keyStart, keyEnd] = split(gather(chunks, index), 0, [1, 1, 1, 1]) as [Value, Value, Value, Value];
  const ofQueries = (x: Value) => slice(x, 0, start, end, 'C');
  const ofKeys = (x: Value, axis: number) => slice(x, axis, keyStart, keyEnd, 'K');
  const queryRows = (x: Value) =>
    reshape(transpose(ofQueries(x), [1, 0, 2]), [groups, `${heads / groups}*C`, x.shape[2]!]);
  return {
    heads,
    queries: queryRows(q),
    keys: ofKeys(allKeys, 1),
    values: ofKeys(allValues, 1),
    queryRows,
    toRows: (x) => transpose(reshape(x, [heads, 'C', width]), [1, 0, 2]),
    mask(window, dtype) {
      const column = (x: Value) => reshape(ofQueries(x), ['C', 1]);
      const [keyBranch, keyPosition] = [ofKeys(branches, 0), ofKeys(positions, 0)]; // [K]
      const related = or(equal(keyBranch, column(branches)), equal(keyBranch, column(prefixes))); // [C, K]
      const causal = and(related, lessOrEqual(keyPosition, column(positions)));
      const near = () => less(sub(column(positions), keyPosition), window!);
      return cast(where(window === undefined ? causal : and(causal, near()), zero(g), hidden(g)), dtype);
    },
    addToKeys(done, x) {
      const before = slice(done, 1, g.constant('int64', [1], [0]), keyStart, 'before');
      const changed = padEnd(slice(done, 1, keyStart, start, 'changed'), 1, sub(end, start), 'K');
      return concat([before, add(changed, x)], 1);
    },
  };
}

const zero = (g: GraphBuilder) => ops(g).scalar('float32', 0);
/** Finite, so that no difference of two of them is NaN. */
const hidden = (g: GraphBuilder) => ops(g).scalar('float32', -1e30);

/** softmax of the masked scores, and d score / d product where a soft cap makes that differ from 1: `[G, R C, K]`. */
function attentionWeights(g: GraphBuilder, chunk: Chunk, attributes: Node['attributes']) {
  const { add, div, matMul, mul, neg, reshape, softmax, tanh, transpose } = ops(g);
  const products = matMul(chunk.queries, transpose(chunk.keys, [0, 2, 1])); // [G, R C, K]
  const cap = (attributes.softcap as { float: number } | undefined)?.float;
  const bent = cap === undefined ? undefined : tanh(div(products, cap));
  const scores = bent ? mul(bent, cap!) : products; // [G, R C, K]
  const mask = chunk.mask(attributes.window as number | undefined, scores.dtype);
  const masked = add(reshape(scores, [chunk.heads, 'C', 'K']), mask); // [H, C, K]
  const weights = reshape(softmax(masked), scores.shape); // [G, R C, K]
  return { weights, slope: bent && add(neg(mul(bent, bent)), 1) };
}
