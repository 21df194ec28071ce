import { attentionGradientLoop, attentionLoop } from './attentionLoops.ts';
import type { Expansion } from './expansion.ts';
import { dequantizers, readersOf, storedMatrices } from './storedMatrices.ts';
import { targetLogpsLoop } from './targetLogpsLoop.ts';
import { graphBuilder, type Attribute, type Constant, type Graph, type Node, type Value } from './graph.ts';

/** Operators that automatic differentiation sees as one, and what they consist of. */
const expansions: Readonly<Record<string, Expansion>> = {
  PackedAttention: attentionLoop,
  PackedAttentionGradient: attentionGradientLoop,
  TargetLogps: targetLogpsLoop,
  ...dequantizers,
};

/** A graph ready to encode: only ONNX's own operators, the constants they need, and outputs under their public names. */
export interface LoweredGraph {
  readonly nodes: readonly Node[];
  readonly constants: readonly Constant[];
  readonly outputs: readonly Value[];
}

/**
 * Replaces the operators that only automatic differentiation knows (`GatherRows`, `StopGradient` and those of `expansions`)
 * by ONNX's own, computes stored matrices where they are used, and gives the outputs their public names.
 */
export function lower(graph: Graph): LoweredGraph {
  const nodes: Node[] = [];
  const constants = [...graph.constants];
  const zeroRows = new Map<string, Value>();
  const tables = new Map<string, Value>();
  const stored = storedMatrices(graph);
  const readers = readersOf(stored);
  const aliases = new Map([...stored].map(([name, { inputs }]) => [name, inputs[0]!]));

  const read = [...graph.nodes.flatMap(({ inputs }) => inputs), ...graph.outputs.map(({ value }) => value)];
  const used = new Set(read.map((value) => value?.name));

  function zeroRow(dtype: Value['dtype'], width: number): Value {
    const key = `${dtype}_${width}`;
    const known = zeroRows.get(key);
    if (known) return known;
    const value: Value = { name: `zero_row_${key}`, dtype, shape: [1, width] };
    constants.push({ value, data: new Array<number>(width).fill(0) });
    zeroRows.set(key, value);
    return value;
  }

  /** x as a matrix of rows. With `none` a row of zeros follows, which -1 (the last row) picks. Built once per table. */
  function table(x: Value, none: boolean): Value {
    const key = `${x.name}/${none ? 'rows_and_none' : 'rows'}`;
    const known = tables.get(key);
    if (known) return known;
    const width = x.shape.at(-1) as number;
    const result: Value = { name: key, dtype: x.dtype, shape: ['rows', width] };
    if (none) {
      nodes.push(lowerNode('Concat', [table(x, false), zeroRow(x.dtype, width)], result, { axis: 0 }));
    } else if (x.shape.length === 2) {
      return x;
    } else {
      const sizes: Value = { name: `${key}/sizes`, dtype: 'int64', shape: [2] };
      constants.push({ value: sizes, data: [-1, width] });
      nodes.push(lowerNode('Reshape', [x, sizes], result));
    }
    tables.set(key, result);
    return result;
  }

  function expand(expansion: Expansion, node: Node, inputs: readonly Value[]): void {
    const g = graphBuilder(node.name, `${node.name}/`);
    const results = expansion(g, inputs, node, (output) => used.has(node.outputs[output]!.name));
    results.forEach((result, index) => aliases.set(node.outputs[index]!.name, result));
    nodes.push(...g.nodes());
    constants.push(...g.finish().constants);
  }

  for (const node of graph.nodes) {
    const inputs = node.inputs.map((value) => value && (aliases.get(value.name) ?? value));
    const readsStored = node.inputs.some((value) => value && stored.has(value.name));
    const expansion = readsStored ? readers[node.op] : expansions[node.op];
    if (stored.has(node.outputs[0]!.name)) continue;
    if (node.op === 'StopGradient') aliases.set(node.outputs[0]!.name, inputs[0]!);
    else if (node.op === 'GatherRows') {
      const rows = table(inputs[0]!, node.attributes.none === 1);
      nodes.push(lowerNode('Gather', [rows, inputs[1]!], node.outputs[0]!, { axis: 0 }));
    } else if (expansion) expand(expansion, node, inputs as readonly Value[]);
    else nodes.push({ ...node, inputs });
  }
  const outputs = graph.outputs.map(({ name, value }) => ({ name, value: aliases.get(value.name) ?? value }));
  return { ...named(nodes, outputs), constants };
}

/** Gives the outputs their public names. A value that no node produces, or that is an output twice, gets an Identity. */
function named(nodes: Node[], outputs: { name: string; value: Value }[]): Pick<LoweredGraph, 'nodes' | 'outputs'> {
  const produced = new Set(nodes.flatMap((node) => node.outputs.map((value) => value.name)));
  const renamed = new Map<string, Value>();
  const copies: Node[] = [];
  const results = outputs.map(({ name, value }) => {
    const result = { ...value, name };
    if (produced.has(value.name) && !renamed.has(value.name)) renamed.set(value.name, result);
    else copies.push(lowerNode('Identity', [value], result));
    return result;
  });
  const rename = (value: Value) => renamed.get(value.name) ?? value;
  const renameInputs = (node: Node): Node => ({
    ...node,
    inputs: node.inputs.map((value) => value && rename(value)),
    attributes: renameInBodies(node.attributes),
  });
  const renameInBodies = (attributes: Node['attributes']) =>
    Object.fromEntries(Object.entries(attributes).map(([key, attribute]) => [key, renameInBody(attribute)]));
  const renameInBody = (attribute: Attribute): Attribute => {
    if (typeof attribute === 'number' || !('graph' in attribute)) return attribute;
    const { graph } = attribute;
    return { graph: { ...graph, nodes: graph.nodes.map(renameInputs) } };
  };
  const own = nodes.map((node) => ({ ...renameInputs(node), outputs: node.outputs.map(rename) }));
  return { nodes: [...own, ...copies.map(renameInputs)], outputs: results };
}

function lowerNode(op: string, inputs: readonly Value[], output: Value, attributes: Node['attributes'] = {}): Node {
  return { op, name: output.name, inputs, outputs: [output], attributes, recompute: 'never' };
}
