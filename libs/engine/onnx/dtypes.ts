import { PairwiseError } from '@pairwise/errors';

interface DtypeFacts {
  /** `TensorProto.DataType` of onnx.proto. */
  readonly code: number;
  readonly bytes: number;
  readonly kind: 'real' | 'integer' | 'bool';
}

/** Element types of tensors, by their ONNX names. */
export const dtypes = {
  float32: { code: 1, bytes: 4, kind: 'real' },
  uint8: { code: 2, bytes: 1, kind: 'integer' },
  int8: { code: 3, bytes: 1, kind: 'integer' },
  uint16: { code: 4, bytes: 2, kind: 'integer' },
  int16: { code: 5, bytes: 2, kind: 'integer' },
  int32: { code: 6, bytes: 4, kind: 'integer' },
  int64: { code: 7, bytes: 8, kind: 'integer' },
  bool: { code: 9, bytes: 1, kind: 'bool' },
  float16: { code: 10, bytes: 2, kind: 'real' },
  float64: { code: 11, bytes: 8, kind: 'real' },
  uint32: { code: 12, bytes: 4, kind: 'integer' },
  uint64: { code: 13, bytes: 8, kind: 'integer' },
  bfloat16: { code: 16, bytes: 2, kind: 'real' },
} as const satisfies Record<string, DtypeFacts>;

export type Dtype = keyof typeof dtypes;

/** Whether gradients can flow through values of this type. */
export function isReal(dtype: Dtype): boolean {
  return dtypes[dtype].kind === 'real';
}

/** The little-endian bytes of a constant. Throws for float16 and bfloat16: cast a float32 constant instead. */
export function constantBytes(dtype: Dtype, data: readonly (number | bigint)[]): Uint8Array {
  const bytes = new Uint8Array(data.length * dtypes[dtype].bytes);
  const view = new DataView(bytes.buffer);
  const write = writers[dtype];
  if (!write) throw new PairwiseError('INVALID_ARGUMENT', `a constant cannot be ${dtype}: cast a float32 constant`);
  data.forEach((value, index) => write(view, index * dtypes[dtype].bytes, value));
  return bytes;
}

const writers: Partial<Record<Dtype, (view: DataView, at: number, value: number | bigint) => void>> = {
  float32: (view, at, value) => view.setFloat32(at, Number(value), true),
  float64: (view, at, value) => view.setFloat64(at, Number(value), true),
  int32: (view, at, value) => view.setInt32(at, Number(value), true),
  uint32: (view, at, value) => view.setUint32(at, Number(value), true),
  uint8: (view, at, value) => view.setUint8(at, Number(value)),
  bool: (view, at, value) => view.setUint8(at, Number(value)),
  int64: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
};
