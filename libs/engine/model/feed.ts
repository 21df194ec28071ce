/** A dense tensor to feed. */
export interface Feed {
  dtype: 'float32' | 'int32' | 'int64';
  dims: number[];
  data: Float32Array | Int32Array | BigInt64Array;
}

export function int32Feed(data: Int32Array, dims = [data.length]): Feed {
  return { dtype: 'int32', dims, data };
}

/** int64 numbers, by default as a vector. */
export function int64Feed(numbers: readonly number[], dims = [numbers.length]): Feed {
  return { dtype: 'int64', dims, data: BigInt64Array.from(numbers, BigInt) };
}
