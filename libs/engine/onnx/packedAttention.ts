import type { GraphBuilder, Node, Value } from './graph.ts';
import { describe, wrongShape } from './dims.ts';

/** Which rows see which. All are inputs of the graph, since a batch decides them. */
export interface AttentionRows {
  /** int32 `[T]`: the position of each row in its sequence. */
  readonly positions: Value;
  /** int32 `[T]`: the prefix or branch that each row belongs to, unique over all trees. */
  readonly branches: Value;
  /** int32 `[T]`: the prefix of each row's tree, as numbered in `branches`. */
  readonly prefixes: Value;
  /**
   * int64 `[chunks, 4]`: the first query row, the row after the last, the first key row and the row after the last. Chunks of
   * queries follow each other and cover all rows; keys end where the queries do.
   */
  readonly chunks: Value;
}

export interface AttentionOptions {
  /** How many positions a query sees, its own included. @default all before it */
  readonly window?: number | undefined;
  /** Scores become softcap tanh(score / softcap). @default unchanged scores */
  readonly softcap?: number | undefined;
}

/**
 * softmax(q k^T) v, for q `[T, H, D]` and k, v `[T, G, D]`, where H / G query heads share a key-value head: `[T, H, D]`. A row
 * sees its own branch and its tree's prefix, up to its own position. Scores exist for one chunk at a time.
 */
export function packedAttention(
  g: GraphBuilder,
  q: Value,
  k: Value,
  v: Value,
  rows: AttentionRows,
  options: AttentionOptions = {},
): Value {
  const [t, h, d] = q.shape;
  const [t2, groups, d2] = k.shape;
  const fits = t === t2 && d === d2 && typeof h === 'number' && typeof groups === 'number' && h % groups === 0;
  if (!fits || String(k.shape) !== String(v.shape)) {
    throw wrongShape(`attention of ${describe(q)} to ${describe(k)} and ${describe(v)}`);
  }
  return g.node('PackedAttention', [q, k, v, ...rowInputs(rows)], attributesOf(options), [q])[0]!;
}

/** The gradients of q, k and v for a `PackedAttention` node with the gradient dy of its result. */
export function packedAttentionGradient(g: GraphBuilder, node: Node, dy: Value): readonly Value[] {
  const [q, k, v] = node.inputs as [Value, Value, Value];
  return g.node('PackedAttentionGradient', [...node.inputs, node.outputs[0], dy], node.attributes, [q, k, v]);
}

function rowInputs({ positions, branches, prefixes, chunks }: AttentionRows): Value[] {
  return [positions, branches, prefixes, chunks];
}

function attributesOf({ window, softcap }: AttentionOptions): Node['attributes'] {
  return { ...(window !== undefined && { window }), ...(softcap !== undefined && { softcap: { float: softcap } }) };
}
