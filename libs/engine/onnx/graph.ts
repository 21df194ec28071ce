import { PairwiseError } from '@pairwise/errors';
import type { Dtype } from './dtypes.ts';
import type { Shape } from './dims.ts';
import { elements, wrongShape } from './dims.ts';

export interface DtypeAndShape {
  readonly dtype: Dtype;
  readonly shape: Shape;
}

/** A reference to a tensor of the graph: an input, a constant, a weight or the output of a node. Names are unique. */
export interface Value extends DtypeAndShape {
  readonly name: string;
}

/** An attribute with its ONNX type; a bare number or list of numbers is an integer. */
export type Attribute =
  number | readonly number[] | { readonly float: number } | { readonly text: string } | { readonly graph: Graph };

export interface Node {
  readonly op: string;
  readonly name: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly Value[];
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly recompute: Recompute;
}

/**
 * When the backward pass recomputes a node's outputs instead of keeping them in memory: always, only where activations are
 * checkpointed per layer, or never.
 */
export type Recompute = 'always' | 'layers' | 'never';

/** A small tensor inside the model file. */
export interface Constant {
  readonly value: Value;
  readonly data: readonly (number | bigint)[];
}

/** Where a tensor's bytes are: a file relative to the model's folder, the offset and the length in bytes. */
export interface ExternalData {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

export interface External {
  readonly value: Value;
  readonly data: ExternalData;
}

/** A finished graph as plain data. The nodes are in an order in which they can run. */
export interface Graph {
  readonly name: string;
  readonly inputs: readonly Value[];
  readonly constants: readonly Constant[];
  readonly externals: readonly External[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly { readonly name: string; readonly value: Value }[];
}

/** Builds a graph; every call appends to it. `ops` binds the operators to one. */
export interface GraphBuilder {
  /** A tensor that every run feeds. */
  input(name: string, dtype: Dtype, shape: Shape): Value;
  /** A tensor stored inside the model file; equal constants are stored once. */
  constant(dtype: Dtype, shape: readonly number[], data: readonly (number | bigint)[]): Value;
  /** A weight, which stays where it is on disk. */
  external(name: string, dtype: Dtype, shape: readonly number[], data: ExternalData): Value;
  /** Appends an operator, or returns the outputs of an equal one that was appended before. */
  node(
    op: string,
    inputs: readonly (Value | undefined)[],
    attributes: Readonly<Record<string, Attribute>>,
    outputs: readonly DtypeAndShape[],
  ): readonly Value[];
  /**
   * Marks the nodes that `build` appends. The backward pass recomputes their outputs from values that it keeps, so that their
   * memory is free in between. Outside of such a call, outputs are kept; of nested calls the innermost counts.
   */
  activationCheckpointing<T>(recompute: Recompute, build: () => T): T;
  /** An empty graph for an attribute of a node of this graph: it may use this graph's values, and shares none of its names. */
  subgraph(): GraphBuilder;
  /** Makes a value an output of the graph, named `name`. */
  output(name: string, value: Value): void;
  /** The nodes so far, in order. */
  nodes(): readonly Node[];
  /** The node that produces a value, or undefined for inputs, constants and weights. */
  producer(value: Value): Node | undefined;
  /** The numbers of a constant, or undefined for any other value. */
  constantData(value: Value): readonly (number | bigint)[] | undefined;
  /** The graph without the nodes that no output needs. */
  finish(): Graph;
}

/**
 * An empty graph. Its methods throw INVALID_ARGUMENT for a name used twice and WRONG_SHAPE for sizes that do not fit.
 * Every name in it begins with `prefix`.
 */
export function graphBuilder(name: string, prefix = ''): GraphBuilder {
  const names = new Set<string>();
  const inputs: Value[] = [];
  const constants = new Map<string, Constant>();
  const constantsByKey = new Map<string, Value>();
  const externals: External[] = [];
  const nodes: Node[] = [];
  const nodesByKey = new Map<string, readonly Value[]>();
  const producers = new Map<string, Node>();
  const outputs: { name: string; value: Value }[] = [];
  let recompute: Recompute = 'never';
  let subgraphs = 0;

  function declare(ownName: string, { dtype, shape }: DtypeAndShape): Value {
    const valueName = prefix + ownName;
    if (names.has(valueName))
      throw new PairwiseError('INVALID_ARGUMENT', `the graph has two values named ${valueName}`);
    names.add(valueName);
    return { name: valueName, dtype, shape };
  }

  return {
    input(inputName, dtype, shape) {
      const value = declare(inputName, { dtype, shape });
      inputs.push(value);
      return value;
    },
    constant(dtype, shape, data) {
      if (data.length !== elements(shape))
        throw wrongShape(`${data.length} numbers for a constant of [${shape.join()}]`);
      const key = `${dtype}[${shape.join()}]${data.map((number) => (Object.is(number, -0) ? '-0' : number)).join()}`;
      const known = constantsByKey.get(key);
      if (known) return known;
      const value = declare(`constant_${constants.size}`, { dtype, shape });
      constants.set(value.name, { value, data });
      constantsByKey.set(key, value);
      return value;
    },
    external(valueName, dtype, shape, data) {
      const value = declare(valueName, { dtype, shape });
      externals.push({ value, data });
      return value;
    },
    node(op, nodeInputs, attributes, types) {
      const key = `${op}(${nodeInputs.map((value) => value?.name ?? '').join()})${types.length}${JSON.stringify(attributes)}`;
      const known = nodesByKey.get(key);
      if (known) return known;
      const nodeName = `${op}_${nodes.length}`;
      const results = types.map((type, index) => declare(index === 0 ? nodeName : `${nodeName}.${index}`, type));
      const appended: Node = {
        op,
        name: prefix + nodeName,
        inputs: nodeInputs,
        outputs: results,
        attributes,
        recompute,
      };
      nodes.push(appended);
      for (const result of results) producers.set(result.name, appended);
      nodesByKey.set(key, results);
      return results;
    },
    activationCheckpointing(mark, build) {
      const before = recompute;
      recompute = mark;
      try {
        return build();
      } finally {
        recompute = before;
      }
    },
    output(outputName, value) {
      declare(outputName, value);
      outputs.push({ name: prefix + outputName, value });
    },
    subgraph: () => {
      const own = `${prefix}${name}_${subgraphs++}/`;
      return graphBuilder(own, own);
    },
    nodes: () => nodes,
    producer: (value) => producers.get(value.name),
    constantData: (value) => constants.get(value.name)?.data,
    finish: () => ({
      name,
      inputs: [...inputs],
      constants: [...constants.values()],
      externals: [...externals],
      nodes: needed(nodes, outputs),
      outputs: [...outputs],
    }),
  };
}

/** The nodes that the outputs depend on, in the same order. */
function needed(nodes: readonly Node[], outputs: Graph['outputs']): Node[] {
  const names = new Set(outputs.map(({ value }) => value.name));
  const kept = nodes.toReversed().filter(({ inputs, outputs: results }) => {
    if (!results.some(({ name }) => names.has(name))) return false;
    for (const input of inputs) if (input) names.add(input.name);
    return true;
  });
  return kept.reverse();
}
