import type { GraphBuilder, Value } from './graph.ts';
import type { Dim, Shape } from './dims.ts';
import { addDims, axisOf, broadcast, describe, product, reshapeSizes, sameShape, wrongShape } from './dims.ts';

/**
 * The same elements in another shape. A named size is allowed where x has the same name on the same axis, and one more
 * may stand anywhere (it is inferred). For any other shape pass the sizes as data to `reshapeBy`.
 */
export function reshape(g: GraphBuilder, x: Value, to: Shape): Value {
  if (sameShape(x.shape, to)) return x;
  if (product(x.shape) !== product(to))
    throw wrongShape(`${describe(x)} does not have the elements of [${to.join(', ')}]`);
  const sizes = reshapeSizes(x.shape, to);
  if (!sizes) throw wrongShape(`${describe(x)} to [${to.join(', ')}] leaves more than one size unknown: use reshapeBy`);
  return g.node('Reshape', [x, g.constant('int64', [sizes.length], sizes)], {}, [{ dtype: x.dtype, shape: to }])[0]!;
}

/** The same elements in the shape that the int64 vector `sizes` holds; `to` is that shape as far as it is known. */
export function reshapeBy(g: GraphBuilder, x: Value, sizes: Value, to: Shape): Value {
  return g.node('Reshape', [x, sizes], {}, [{ dtype: x.dtype, shape: to }])[0]!;
}

/** Axis i of the result is axis `axes[i]` of x. */
export function transpose(g: GraphBuilder, x: Value, axes: readonly number[]): Value {
  const perm = axes.map((axis) => axisOf(x.shape, axis));
  if (new Set(perm).size !== x.shape.length || perm.length !== x.shape.length) {
    throw wrongShape(`[${axes.join()}] is not a permutation of the axes of ${describe(x)}`);
  }
  if (perm.every((axis, index) => axis === index)) return x;
  const producer = g.producer(x);
  if (producer?.op === 'Transpose') {
    const first = producer.attributes.perm as readonly number[];
    return transpose(
      g,
      producer.inputs[0]!,
      perm.map((axis) => first[axis]!),
    );
  }
  return g.node('Transpose', [x], { perm }, [{ dtype: x.dtype, shape: perm.map((axis) => x.shape[axis]!) }])[0]!;
}

/** Values joined along one axis. `size` names the joined axis; by default it is the sum of the sizes. */
export function concat(g: GraphBuilder, values: readonly Value[], axis: number, size?: Dim): Value {
  const [first] = values;
  if (!first) throw wrongShape('Concat of nothing');
  if (values.length === 1) return first;
  const at = axisOf(first.shape, axis);
  for (const value of values) {
    if (!value.shape.every((dim, index) => index === at || dim === first.shape[index])) {
      throw wrongShape(`Concat of ${describe(first)} and ${describe(value)} along axis ${axis}`);
    }
  }
  const total = size ?? values.map((value) => value.shape[at]!).reduce(addDims);
  return g.node('Concat', values, { axis: at }, [{ dtype: first.dtype, shape: first.shape.with(at, total) }])[0]!;
}

/** Parts of the given sizes along one axis of known size; the sizes sum to it. */
export function split(g: GraphBuilder, x: Value, axis: number, sizes: readonly number[]): readonly Value[] {
  const at = axisOf(x.shape, axis);
  if (x.shape[at] !== sizes.reduce((a, b) => a + b, 0))
    throw wrongShape(`split ${describe(x)} into ${sizes.join('+')}`);
  if (sizes.length === 1) return [x];
  const types = sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.with(at, size) }));
  return g.node('Split', [x, g.constant('int64', [sizes.length], sizes)], { axis: at }, types);
}

/** Parts along one axis, with the sizes in the int64 vector `sizes`; `parts` are these sizes as far as they are known. */
export function splitBy(
  g: GraphBuilder,
  x: Value,
  axis: number,
  sizes: Value,
  parts: readonly Dim[],
): readonly Value[] {
  const at = axisOf(x.shape, axis);
  const types = parts.map((size) => ({ dtype: x.dtype, shape: x.shape.with(at, size) }));
  return g.node('Split', [x, sizes], { axis: at }, types);
}

/** x from `start` (inclusive) to `end` (exclusive; clipped to the axis), int64 `[1]`, along one axis; `size` is their difference. */
export function slice(g: GraphBuilder, x: Value, axis: number, start: Value, end: Value, size: Dim): Value {
  const at = axisOf(x.shape, axis);
  const inputs = [x, start, end, g.constant('int64', [1], [at])];
  return g.node('Slice', inputs, {}, [{ dtype: x.dtype, shape: x.shape.with(at, size) }])[0]!;
}

/** x with `count` (int64 `[1]`) rows of zeros after its rows along one axis, which then has the size `size`. */
export function padEnd(g: GraphBuilder, x: Value, axis: number, count: Value, size: Dim): Value {
  const at = axisOf(x.shape, axis);
  const pads = concat(g, [g.constant('int64', [1], [0]), count], 0);
  const inputs = [x, pads, undefined, g.constant('int64', [1], [at])];
  return g.node('Pad', inputs, {}, [{ dtype: x.dtype, shape: x.shape.with(at, size) }])[0]!;
}

/** x repeated along its axes of size 1 to the shape `to`. Named sizes are read from `like` at run time. */
export function expand(g: GraphBuilder, x: Value, to: Shape, like?: Value): Value {
  if (sameShape(x.shape, to)) return x;
  if (!sameShape(broadcast(x.shape, to), to)) throw wrongShape(`${describe(x)} does not expand to [${to.join(', ')}]`);
  const known = to.every((dim) => typeof dim === 'number');
  if (!known && !(like && sameShape(like.shape, to))) {
    throw wrongShape(`expand ${describe(x)} to [${to.join(', ')}] needs a value of that shape`);
  }
  const sizes = known ? g.constant('int64', [to.length], to) : shapeOf(g, like!);
  return g.node('Expand', [x, sizes], {}, [{ dtype: x.dtype, shape: to }])[0]!;
}

/** x with new axes of size 1, at these positions of the result. */
export function unsqueeze(g: GraphBuilder, x: Value, axes: readonly number[]): Value {
  const rank = x.shape.length + axes.length;
  const places = axes.map((axis) => (axis < 0 ? axis + rank : axis));
  const rest = [...x.shape];
  const shape = Array.from({ length: rank }, (_, axis) => (places.includes(axis) ? 1 : rest.shift()!));
  return g.node('Unsqueeze', [x, g.constant('int64', [axes.length], places)], {}, [{ dtype: x.dtype, shape }])[0]!;
}

/** x without these axes, which must have size 1. */
export function squeeze(g: GraphBuilder, x: Value, axes: readonly number[]): Value {
  const places = axes.map((axis) => axisOf(x.shape, axis));
  if (places.some((axis) => x.shape[axis] !== 1)) throw wrongShape(`squeeze axes ${axes.join()} of ${describe(x)}`);
  const shape = x.shape.filter((_, axis) => !places.includes(axis));
  return g.node('Squeeze', [x, g.constant('int64', [axes.length], places)], {}, [{ dtype: x.dtype, shape }])[0]!;
}

/** The run-time sizes of x: int64 `[rank]`. */
export function shapeOf(g: GraphBuilder, x: Value): Value {
  return g.node('Shape', [x], {}, [{ dtype: 'int64', shape: [x.shape.length] }])[0]!;
}

/** The run-time size of one axis of x: int64 `[1]`. */
export function sizeOf(g: GraphBuilder, x: Value, axis: number): Value {
  const at = axisOf(x.shape, axis);
  return g.node('Shape', [x], { start: at, end: at + 1 }, [{ dtype: 'int64', shape: [1] }])[0]!;
}
