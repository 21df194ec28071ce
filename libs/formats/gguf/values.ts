/** The types of GGUF metadata values with their ids (GGUF specification, version 3). */
export const valueTypeIds = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;

export type ValueType = keyof typeof valueTypeIds;
export type ElementType = Exclude<ValueType, 'array'>;
export type Scalar = number | bigint | boolean | string;

/** A metadata value. 64-bit integers are bigint, other numbers are number. */
export type GgufValue =
  { type: ElementType; value: Scalar } | { type: 'array'; of: ElementType; value: readonly Scalar[] };

/** Metadata in the order of the file. */
export type Metadata = ReadonlyMap<string, GgufValue>;

export const u32 = (value: number): GgufValue => ({ type: 'uint32', value });
export const f32 = (value: number): GgufValue => ({ type: 'float32', value });
export const bool = (value: boolean): GgufValue => ({ type: 'bool', value });
export const text = (value: string): GgufValue => ({ type: 'string', value });
export const textArray = (value: readonly string[]): GgufValue => ({ type: 'array', of: 'string', value });
export const i32Array = (value: readonly number[]): GgufValue => ({ type: 'array', of: 'int32', value });
export const f32Array = (value: readonly number[]): GgufValue => ({ type: 'array', of: 'float32', value });

/** The size of an element in bytes; undefined for strings. */
export const valueBytes: Record<ElementType, number | undefined> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: undefined,
  uint64: 8,
  int64: 8,
  float64: 8,
};
