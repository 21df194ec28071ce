/*
 * A matrix that a model stores in 16 bits is one `Cast` in the graph. Cast once, it would stay in memory in full precision as
 * long as the session. So each operator that reads it casts for itself what it needs, when it needs it.
 */
import type { Expansion } from './expansion.ts';
import type { Graph, GraphBuilder, Value } from './graph.ts';
import { ops } from './ops.ts';
import { targetLogpsLoop } from './targetLogpsLoop.ts';

/** The operators that can read stored matrices instead of cast ones. */
export const readersOfStored: Readonly<Record<string, Expansion>> = {
  Gemm: (g, [a, b, bias], { attributes, outputs }) => {
    const { dtype } = outputs[0]!;
    return g.node('Gemm', [castFor(g, a!, b!, dtype), castFor(g, b!, a!, dtype), bias], attributes, outputs);
  },
  Gather: (g, [table, index], { attributes, outputs }) => {
    const { cast, gather } = ops(g);
    return [cast(gather(table!, index!, attributes.axis as number), outputs[0]!.dtype)];
  },
  TargetLogps: targetLogpsLoop,
};

/** The stored matrices, by the names of their cast values; without those that another operator or an output reads. */
export function storedMatrices({ nodes, externals, outputs }: Graph): ReadonlyMap<string, Value> {
  const weights = new Set(externals.map(({ value }) => value.name));
  const others = nodes.filter(({ op }) => !(op in readersOfStored)).flatMap(({ inputs }) => inputs);
  const kept = new Set([...others, ...outputs.map(({ value }) => value)].map((value) => value?.name));
  const casts = nodes.filter(({ op, inputs: [x] }) => op === 'Cast' && x!.shape.length === 2 && weights.has(x!.name));
  return new Map(
    casts
      .map(({ inputs, outputs: results }) => [results[0]!.name, inputs[0]!] as const)
      .filter(([name]) => !kept.has(name)),
  );
}

/**
 * The matrix `weight` cast for its product with the matrix `other`. The runtime casts constants when it opens a session, merges
 * equal casts, and would run this one long before its use. A Reshape to sizes that are computed from `other` rules all of that
 * out, and copies nothing. The sizes are 0, which stands for the size that the weight has.
 */
function castFor(g: GraphBuilder, weight: Value, other: Value, dtype: Value['dtype']): Value {
  if (weight.dtype === dtype) return weight;
  const { cast, mul, reshapeBy, shapeOf } = ops(g);
  return cast(reshapeBy(weight, mul(shapeOf(other), 0), weight.shape), dtype);
}
