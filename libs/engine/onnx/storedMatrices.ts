/*
 * Matrices that a model stores in fewer bits than float32. In a graph, such a matrix is one node that computes it from what is
 * stored. Computed once, it would stay in memory in float32 as long as the session. So each operator that reads it computes
 * for itself what it needs, when it needs it.
 */
import { nf4BlockSize, nf4Values } from './dequantize.ts';
import type { Dtype } from './dtypes.ts';
import type { Expansion } from './expansion.ts';
import type { Graph, GraphBuilder, Node, Value } from './graph.ts';
import { ops } from './ops.ts';
import { targetLogpsLoop } from './targetLogpsLoop.ts';

/** What the operators consist of that compute such a matrix from codes. */
export const dequantizers: Readonly<Record<string, Expansion>> = {
  DequantizeInt8: (g, [codes, absmax], { outputs }) => {
    return [ops(g).mul(g.node('DequantizeLinear', [codes, absmax], { axis: 0 }, outputs)[0]!, 1 / 127)];
  },
  DequantizeNf4: (g, [codes, absmax], { attributes, outputs }) => {
    const { cast, gather, mul, reshape } = ops(g);
    const [blocks] = absmax!.shape as [number, 1];
    // Both values of every byte: one look-up costs less than two and the arithmetic that takes a byte apart.
    const pairs = nf4Values.flatMap((high) => nf4Values.flatMap((low) => [high, low]));
    const numbers = gather(g.constant('float32', [256, 2], pairs), cast(codes!, 'int32')); // [rows, columns / 2, 2]
    const scaled = mul(reshape(numbers, [blocks, nf4BlockSize]), absmax!); // [blocks, 64]
    const { text: dtype } = attributes.dtype as { text: Dtype };
    return [reshape(cast(cast(scaled, dtype), 'float32'), outputs[0]!.shape)];
  },
};

/** All operators that compute such a matrix. */
const decoders: Readonly<Record<string, Expansion>> = {
  ...dequantizers,
  Cast: (g, [x], { outputs }) => [ops(g).cast(x!, outputs[0]!.dtype)],
};

/** The nodes that compute a stored matrix for operators that can do without it, by the names of their outputs. */
export function storedMatrices({ nodes, externals, outputs }: Graph): ReadonlyMap<string, Node> {
  const weights = new Set(externals.map(({ value }) => value.name));
  const isStored = ({ op, inputs, outputs: [y] }: Node) =>
    op in decoders && y!.shape.length === 2 && inputs.every((part) => weights.has(part!.name));
  const stored = new Map(nodes.filter(isStored).map((node) => [node.outputs[0]!.name, node]));
  const needed = nodes.flatMap(({ op, inputs }) => inputs.filter((x) => !canDecode(op, stored.get(x?.name ?? ''))));
  for (const value of [...needed, ...outputs.map(({ value }) => value)]) stored.delete(value?.name ?? '');
  return stored;
}

function canDecode(op: string, node: Node | undefined): boolean {
  return op === 'Gemm' || (node?.op === 'Cast' && (op === 'Gather' || op === 'TargetLogps'));
}

/** What such an operator becomes, if it reads a stored matrix. For a `Cast`, its input stands for it among the inputs. */
export function readersOf(stored: ReadonlyMap<string, Node>): Readonly<Record<string, Expansion>> {
  return {
    Gemm: (g, [a, b, bias], node) => {
      const matrix = (index: number, own: Value, other: Value) => {
        const decoder = stored.get(node.inputs[index]!.name);
        return decoder ? decodeFor(g, decoder, other) : own;
      };
      return g.node('Gemm', [matrix(0, a!, b!), matrix(1, b!, a!), bias], node.attributes, node.outputs);
    },
    Gather: (g, [table, index], { attributes, outputs }) => {
      const { cast, gather } = ops(g);
      return [cast(gather(table!, index!, attributes.axis as number), outputs[0]!.dtype)];
    },
    TargetLogps: targetLogpsLoop,
  };
}

/**
 * A stored matrix for its product with the matrix `other`. The runtime computes constants when it opens a session, merges equal
 * computations, and would run this one long before its use. A Reshape to sizes that are computed from `other` rules all of that
 * out, and copies nothing. The sizes are 0, which stands for the size that the stored matrix has.
 */
function decodeFor(g: GraphBuilder, node: Node, other: Value): Value {
  const { mul, reshapeBy, shapeOf } = ops(g);
  const [first, ...rest] = node.inputs as readonly [Value, ...Value[]];
  const tied = reshapeBy(first, mul(shapeOf(other), 0), first.shape);
  return decoders[node.op]!(g, [tied, ...rest], node, () => true)[0]!;
}
