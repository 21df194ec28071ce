import { PairwiseError } from '@pairwise/errors';
import type { GraphBuilder, Value } from './graph.ts';
import { expand, unsqueeze } from './reshape.ts';
import { axisOf, describe, sameShape, wrongShape } from './dims.ts';

/** Slices of x along `axis`, picked by `index` (int32 or int64, any shape); the index's shape replaces that axis. */
export function gather(g: GraphBuilder, x: Value, index: Value, axis = 0): Value {
  integers(index);
  const at = axisOf(x.shape, axis);
  const shape = x.shape.toSpliced(at, 1, ...index.shape);
  return g.node('Gather', [x, index], { axis: at }, [{ dtype: x.dtype, shape }])[0]!;
}

/** Row numbers, int32 or int64. */
export interface Rows {
  readonly index: Value;
  /** Whether -1 means "no row", which reads as zeros. It costs a copy of the table. */
  readonly none: boolean;
}

/**
 * Rows picked from a table, with a gradient that consists of row gathers as well.
 * x is `[...lead, width]`; its rows are numbered over all leading axes. The result is `[...rows.index.shape, width]`.
 * An inverse has the shape `lead` and gives, for each row of x, the row of the result that it went to, or -1; a row that is
 * used n times needs n inverses. The gradient of x gathers the gradient of the result once per inverse and adds these up.
 * The caller who builds the index feeds its inverses too, so nothing is scattered and no sum depends on the threads.
 * Without inverses no gradient can flow to x.
 */
export function gatherRows(g: GraphBuilder, x: Value, rows: Rows, inverses: readonly Rows[] = []): Value {
  const lead = x.shape.slice(0, -1);
  const width = x.shape.at(-1);
  if (lead.length === 0 || typeof width !== 'number') throw wrongShape(`rows of ${describe(x)}`);
  for (const { index } of [rows, ...inverses]) integers(index);
  for (const { index } of inverses) {
    if (!sameShape(index.shape, lead)) {
      throw wrongShape(`the inverse ${describe(index)} does not have the shape of the rows of ${x.name}`);
    }
  }
  const attributes = { none: Number(rows.none), inverseNone: inverses.map(({ none }) => Number(none)) };
  const inputs = [x, rows.index, ...inverses.map(({ index }) => index)];
  return g.node('GatherRows', inputs, attributes, [{ dtype: x.dtype, shape: [...rows.index.shape, width] }])[0]!;
}

/**
 * A copy of x `[n, width]` with the rows of `updates` `[k, width]` added, in order, to its rows `index` `[k]`.
 * It uses ScatterElements, which adds in one thread on the CPU. ScatterND's reductions race there: onnxruntime 1.30 with
 * two threads gave a different, wrong result in each of 12 runs that added 4096 rows to 40.
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
