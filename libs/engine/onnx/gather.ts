import { PairwiseError } from '@pairwise/errors';
import type { GraphBuilder, Value } from './graph.ts';
import { expand, unsqueeze } from './reshape.ts';
import { axisOf, sameShape, wrongShape } from './dims.ts';

/** Slices of x along `axis` picked by `index` (int32 or int64, any shape), which takes the place of that axis. */
export function gather(g: GraphBuilder, x: Value, index: Value, axis = 0): Value {
  integers(index);
  const at = axisOf(x.shape, axis);
  const shape = x.shape.toSpliced(at, 1, ...index.shape);
  return g.node('Gather', [x, index], { axis: at }, [{ dtype: x.dtype, shape }])[0]!;
}

/** Row numbers, int32 or int64. */
export interface Rows {
  readonly index: Value;
  /** Whether -1 may stand for "no row", which reads as zeros (costs a copy of the table). */
  readonly none: boolean;
}

/**
 * Rows picked from a table, with a gradient that is again only row gathers.
 * x is `[...lead, width]`: its rows are numbered over all leading axes. The result is `[...rows.index.shape, width]`.
 * Each inverse has the shape `lead` and says for every row of x at which row of the result it was used, -1 for none; a
 * row used n times needs n inverses. The gradient of x is the sum of the gathers of the result's gradient by them.
 * The inverses are data, so that whoever made the index states where rows went; nothing is scattered, no order of
 * additions depends on threads. Without inverses no gradient can flow to x.
 */
export function gatherRows(g: GraphBuilder, x: Value, rows: Rows, inverses: readonly Rows[] = []): Value {
  const lead = x.shape.slice(0, -1);
  const width = x.shape.at(-1);
  if (lead.length === 0 || typeof width !== 'number') throw wrongShape(`rows of ${x.name} [${x.shape.join(', ')}]`);
  for (const { index } of [rows, ...inverses]) integers(index);
  for (const { index } of inverses) {
    if (!sameShape(index.shape, lead)) {
      throw wrongShape(`the inverse ${index.name} [${index.shape.join(', ')}] is not shaped as the rows of ${x.name}`);
    }
  }
  const attributes = { none: Number(rows.none), inverseNone: inverses.map(({ none }) => Number(none)) };
  const inputs = [x, rows.index, ...inverses.map(({ index }) => index)];
  return g.node('GatherRows', inputs, attributes, [{ dtype: x.dtype, shape: [...rows.index.shape, width] }])[0]!;
}

/**
 * A copy of x `[n, width]` to whose rows `index` `[k]` the rows of `updates` `[k, width]` are added, in their order.
 * By ScatterElements: on the CPU it adds in one thread, whereas ScatterND's reductions race there (onnxruntime 1.30
 * with two threads: a different, wrong result in each of 12 runs with 4096 rows added to 40).
 */
export function scatterAddRows(g: GraphBuilder, x: Value, index: Value, updates: Value): Value {
  integers(index);
  const cells = expand(g, unsqueeze(g, index, [1]), updates.shape, updates);
  const attributes = { axis: 0, reduction: { text: 'add' } };
  return g.node('ScatterElements', [x, cells, updates], attributes, [{ dtype: x.dtype, shape: x.shape }])[0]!;
}

function integers(index: Value): void {
  if (index.dtype !== 'int32' && index.dtype !== 'int64') {
    throw new PairwiseError('INVALID_ARGUMENT', `the index ${index.name} is ${index.dtype}: use int32 or int64`);
  }
}
