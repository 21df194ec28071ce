export { dtypes, isReal } from './dtypes.ts';
export type { Dtype } from './dtypes.ts';
export { broadcast, elements, product, sameShape } from './dims.ts';
export type { Dim, Shape } from './dims.ts';
export { graphBuilder } from './graph.ts';
export type {
  Attribute,
  Constant,
  External,
  ExternalData,
  Graph,
  GraphBuilder,
  Node,
  Value,
  ValueType,
} from './graph.ts';
export * from './elementwise.ts';
export * from './linear.ts';
export * from './reduce.ts';
export * from './reshape.ts';
export * from './gather.ts';
export { encodeModel } from './encode.ts';
