import { PairwiseError } from '@pairwise/errors';

/** A size: a number, or a name for one that the feeds decide. Products and sums of names are names: `9*T`, `(P+1)`. */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** The product of sizes in one canonical form, so that `9*T` times 64 equals `T` times 576. */
export function product(dims: Shape): Dim {
  let factor = 1;
  const names: string[] = [];
  for (const dim of dims.flatMap(factors)) {
    if (typeof dim === 'number') factor *= dim;
    else names.push(dim);
  }
  if (names.length === 0 || factor === 0) return factor;
  names.sort();
  return (factor === 1 ? names : [String(factor), ...names]).join('*');
}

/** The sum of two sizes, in brackets unless both are numbers. */
export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  if (a === 0) return b;
  if (b === 0) return a;
  return `(${a}+${b})`;
}

function factors(dim: Dim): Dim[] {
  if (typeof dim === 'number') return [dim];
  return split(dim, '*').map(asDim);
}

const asDim = (text: string): Dim => (/^\d+$/.test(text) ? Number(text) : text);

/** The parts between the separators that are not in brackets. */
function split(dim: string, separator: '*' | '+'): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at <= dim.length; at++) {
    const letter = dim[at];
    if (letter === '(') depth++;
    else if (letter === ')') depth--;
    else if ((letter === separator && depth === 0) || letter === undefined) {
      parts.push(dim.slice(from, at));
      from = at + 1;
    }
  }
  return parts;
}

/** The number for a name in shapes; undefined if it is unknown. */
export type Sizes = (name: string) => number | undefined;

/** A size as a number. Throws WRONG_SHAPE for an unknown name. */
export function evaluate(dim: Dim, sizes: Sizes): number {
  if (typeof dim === 'number') return dim;
  const all = factors(dim);
  if (all.length > 1) return all.reduce<number>((total, factor) => total * evaluate(factor, sizes), 1);
  if (dim.startsWith('(')) {
    return split(dim.slice(1, -1), '+').reduce((total, part) => total + evaluate(asDim(part), sizes), 0);
  }
  const size = sizes(dim);
  if (size === undefined) throw wrongShape(`the size ${dim} is unknown`);
  return size;
}

/** Whether two shapes are the same, names included. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}

/** The shape of an element-wise result, by numpy's rules. Two different names never broadcast. */
export function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left === right || right === 1) return left;
    if (left === 1) return right;
    throw wrongShape(`[${a.join(', ')}] and [${b.join(', ')}] do not broadcast`);
  });
}

/** The axis counted from the start; a negative one counts from the end. Throws if the shape has no such axis. */
export function axisOf(shape: Shape, axis: number): number {
  const at = axis < 0 ? axis + shape.length : axis;
  if (at < 0 || at >= shape.length) throw wrongShape(`[${shape.join(', ')}] does not have an axis ${axis}`);
  return at;
}

/** The number of elements. Throws for a symbolic shape. */
export function elements(shape: Shape): number {
  const count = product(shape);
  if (typeof count === 'string') throw wrongShape(`the number of elements of [${shape.join(', ')}] is unknown`);
  return count;
}

/** The constant with which Reshape turns one shape into another (0 copies an axis, -1 infers one), or undefined. */
export function reshapeSizes(from: Shape, to: Shape): number[] | undefined {
  let unknown = 0;
  const sizes = to.map((dim, axis) => {
    if (typeof dim === 'number') return dim;
    if (from[axis] === dim) return 0;
    unknown++;
    return -1;
  });
  return unknown > 1 ? undefined : sizes;
}

/** A value's name and shape, for error messages. */
export function describe({ name, shape }: { readonly name: string; readonly shape: Shape }): string {
  return `${name} [${shape.join(', ')}]`;
}

export function wrongShape(problem: string): PairwiseError {
  return new PairwiseError('WRONG_SHAPE', problem);
}
