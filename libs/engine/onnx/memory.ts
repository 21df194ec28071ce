import { evaluate, type Sizes } from './dims.ts';
import { dtypes } from './dtypes.ts';
import type { Graph, Node, Value } from './graph.ts';
import { lower, type LoweredGraph } from './lower.ts';
import { endsLast, readsOf, runOrder } from './order.ts';

/**
 * The most bytes that the values of a graph take at the same time while onnxruntime 1.30 runs it, with a number for each named
 * size. Weights and feeds are not counted; the results are.
 */
export function peakBytes(graph: Graph, sizes: Sizes): number {
  return peakOf(graph, sizes, overwriting);
}

/** Operators whose output is their first input with other sizes. */
const views = new Set(['Reshape', 'Unsqueeze']);

/** Operators that write their output over an input of the same size that nothing reads later. */
const overwriting = new Set([
  'Add',
  'Sub',
  'Mul',
  'Div',
  'Neg',
  'Exp',
  'Log',
  'Sqrt',
  'Reciprocal',
  'Sigmoid',
  'Tanh',
  'Softplus',
  'Softmax',
]);

/** In the body of a loop, the runtime knows too little of the sizes to let outputs overwrite inputs. */
const none: typeof overwriting = new Set();

/** Memory that one or more values share. */
interface Buffer {
  bytes: number;
  /** The place of the last node that uses any of its values. */
  lastUse: number;
}

function peakOf(graph: Graph, sizes: Sizes, overwrites: typeof overwriting): number {
  const { nodes: declared, outputs } = lower(endsLast(graph));
  const nodes = runOrder(declared);
  const buffers = buffersOf(nodes, outputs, sizes, overwrites);
  const freed = Map.groupBy(new Set(buffers.values()), ({ lastUse }) => lastUse);
  const allocated = new Set<Buffer>();
  let live = 0;
  let peak = 0;
  nodes.forEach((node, place) => {
    for (const { name } of node.outputs) {
      const buffer = buffers.get(name)!;
      if (!allocated.has(buffer)) live += buffer.bytes;
      allocated.add(buffer);
    }
    peak = Math.max(peak, live + bodyBytes(node, sizes));
    for (const { bytes } of freed.get(place) ?? []) live -= bytes;
  });
  return peak;
}

/** What a loop takes besides its outputs: the state with which the last iteration begins, and what that computes. */
function bodyBytes({ attributes, outputs }: Node, sizes: Sizes): number {
  const { body } = attributes;
  if (typeof body !== 'object' || !('graph' in body)) return 0;
  return total(body.graph.inputs, sizes) + peakOf(body.graph, sizes, none) - total(outputs, sizes);
}

/** The memory of each value that a node computes. */
function buffersOf(
  nodes: readonly Node[],
  outputs: LoweredGraph['outputs'],
  sizes: Sizes,
  overwrites: typeof overwriting,
): ReadonlyMap<string, Buffer> {
  const lastReads = new Map<string, number>();
  nodes.forEach((node, place) => readsOf(node).forEach((name) => lastReads.set(name, place)));
  for (const { name } of outputs) lastReads.set(name, Infinity);
  const buffers = new Map<string, Buffer>();
  nodes.forEach(({ op, inputs, outputs: results }, place) => {
    const isSpare = (input: Value | undefined) =>
      input !== undefined &&
      buffers.get(input.name)?.lastUse === place &&
      bytesOf(input, sizes) === bytesOf(results[0]!, sizes);
    const shared = views.has(op) ? inputs[0] : overwrites.has(op) ? inputs.find(isSpare) : undefined;
    for (const result of results) {
      const buffer = buffers.get(shared?.name ?? '') ?? { bytes: bytesOf(result, sizes), lastUse: place };
      buffer.lastUse = Math.max(buffer.lastUse, lastReads.get(result.name) ?? place);
      buffers.set(result.name, buffer);
    }
  });
  return buffers;
}

const total = (values: readonly Value[], sizes: Sizes) => values.reduce((sum, value) => sum + bytesOf(value, sizes), 0);

function bytesOf({ dtype, shape }: Value, sizes: Sizes): number {
  return shape.reduce<number>((bytes, dim) => bytes * evaluate(dim, sizes), dtypes[dtype].bytes);
}
