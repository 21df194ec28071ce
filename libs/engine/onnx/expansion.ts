import type { GraphBuilder, Node, Value } from './graph.ts';

/** Appends ONNX operators to g that compute the outputs of `node` from `inputs`; it may leave out those that are not used. */
export type Expansion = (
  g: GraphBuilder,
  inputs: readonly Value[],
  node: Node,
  isUsed: (output: number) => boolean,
) => readonly Value[];
