import type { Dtype, Value } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';

/**
 * The array type for each dtype: float16 as its bits, bool as 0 and 1. The runtime's binding does not support bfloat16.
 */
const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
};

interface Arrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  uint8: Uint8Array;
  int8: Int8Array;
  uint16: Uint16Array;
  int16: Int16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  bool: Uint8Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
}

type TensorDtype = keyof Arrays;

/**
 * A dense tensor in row-major order. Data on a SharedArrayBuffer reaches the runtime without a copy; any other data is
 * copied.
 */
export interface Tensor<D extends TensorDtype = TensorDtype> {
  readonly dtype: D;
  readonly dims: readonly number[];
  readonly data: Arrays[D];
}

/** A tensor of zeros on shared memory: for feeds that are large or reused, and for the `into` of a run. */
export function sharedTensor<D extends TensorDtype>(dtype: D, dims: readonly number[]): Tensor<D> {
  const array = arrays[dtype] as unknown as { new (buffer: SharedArrayBuffer): Arrays[D]; BYTES_PER_ELEMENT: number };
  const count = dims.reduce((a, b) => a * b, 1);
  return { dtype, dims, data: new array(new SharedArrayBuffer(count * array.BYTES_PER_ELEMENT)) };
}

function isTensorDtype(dtype: Dtype): dtype is TensorDtype {
  return dtype in arrays;
}

/**
 * Checks that the feeds are exactly the graph's inputs, with their types and shapes, and that each named dimension has
 * the same size everywhere. Reasons: `INVALID_ARGUMENT`, `WRONG_SHAPE`.
 */
export function checkFeeds(inputs: readonly Value[], feeds: Readonly<Record<string, Tensor>>): void {
  const sizes = new Map<string, number>();
  for (const input of inputs) {
    const feed = feeds[input.name];
    if (!feed) throw new PairwiseError('INVALID_ARGUMENT', `the graph's input ${input.name} is not fed`);
    checkFeed(input, feed, sizes);
  }
  const known = new Set(inputs.map(({ name }) => name));
  const unknown = Object.keys(feeds).find((name) => !known.has(name));
  if (unknown) throw new PairwiseError('INVALID_ARGUMENT', `the graph has no input ${unknown}`);
}

function checkFeed({ name, dtype, shape }: Value, feed: Tensor, sizes: Map<string, number>): void {
  if (feed.dtype !== dtype || !isTensorDtype(dtype) || !(feed.data instanceof arrays[dtype])) {
    throw new PairwiseError(
      'INVALID_ARGUMENT',
      `${name} is fed ${feed.dtype} as ${feed.data.constructor.name}, not ${dtype}`,
    );
  }
  const given = `${name} is fed [${feed.dims.join(', ')}]`;
  if (feed.dims.reduce((a, b) => a * b, 1) !== feed.data.length) {
    throw new PairwiseError('WRONG_SHAPE', `${given} with ${feed.data.length} numbers`);
  }
  const fits = (size: number, axis: number) => {
    const dim = shape[axis]!;
    if (typeof dim === 'number') return dim === size;
    if (!sizes.has(dim)) sizes.set(dim, size);
    return sizes.get(dim) === size;
  };
  if (feed.dims.length !== shape.length || !feed.dims.every(fits)) {
    const wanted = shape.map((dim) => (sizes.has(String(dim)) ? `${dim}=${sizes.get(String(dim))}` : dim));
    throw new PairwiseError('WRONG_SHAPE', `${given}, not [${wanted.join(', ')}]`);
  }
}
