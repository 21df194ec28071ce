import type { GraphBuilder, Value } from './graph.ts';
import { describe, wrongShape } from './dims.ts';
import { headChunkRows } from './headChunk.ts';

export interface TargetLogpsOptions {
  /** Logits become softcap tanh(logit / softcap). @default unchanged logits */
  readonly softcap?: number | undefined;
  /** How many rows of the head are multiplied at a time. @default `headChunkRows` */
  readonly rows?: number;
}

/**
 * log softmax(hidden head^T) at the targets, for hidden `[N, E]`, head `[V, E]` and int32 targets `[N]`: `[N]`, in nats. Logits
 * exist for some rows of the head at a time. The node's second output is d logp / d hidden `[N, E]`, which is computed only
 * where something uses it.
 */
export function targetLogps(
  g: GraphBuilder,
  hidden: Value,
  head: Value,
  targets: Value,
  { softcap, rows = headChunkRows }: TargetLogpsOptions = {},
): Value {
  const [count, width] = hidden.shape;
  if (hidden.shape.length !== 2 || head.shape.length !== 2 || head.shape[1] !== width || targets.shape[0] !== count) {
    throw wrongShape(`the logps of ${describe(targets)} for ${describe(hidden)} and ${describe(head)}`);
  }
  const attributes = { rows, ...(softcap !== undefined && { softcap: { float: softcap } }) };
  const logps = { dtype: hidden.dtype, shape: [count!] };
  return g.node('TargetLogps', [hidden, head, targets], attributes, [logps, hidden])[0]!;
}
