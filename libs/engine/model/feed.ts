/** A dense tensor to feed. */
export interface Feed {
  dtype: 'float32' | 'int32' | 'int64';
  dims: number[];
  data: Float32Array | Int32Array | BigInt64Array;
}

export function int32Feed(data: Int32Array, dims = [data.length]): Feed {
  return { dtype: 'int32', dims, data };
}

/** A vector of int64. */
export function int64Feed(numbers: readonly number[]): Feed {
  return { dtype: 'int64', dims: [numbers.length], data: BigInt64Array.from(numbers, BigInt) };
}
