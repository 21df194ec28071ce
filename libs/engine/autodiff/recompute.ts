import { add, cast, isReal, mul, reshape } from '@pairwise/onnx';
import type { GraphBuilder, Value } from '@pairwise/onnx';

/**
 * How the backward pass reads values of the forward pass: results of nodes that are marked `recompute` are computed anew,
 * from values that are kept. A runtime would merge the two computations again, so a factor of 1 that it cannot foresee,
 * 0 * loss + 1, stands between them, on the smallest tensor that there is. It also keeps the second computation from
 * running before the loss is known.
 */
export function recomputer(g: GraphBuilder, loss: Value): (value: Value) => Value {
  const fresh = new Map<string, Value>();

  function apart(value: Value): Value {
    const one = add(g, mul(g, reshape(g, loss, []), 0), 1);
    return mul(g, value, cast(g, one, value.dtype));
  }

  return function again(value) {
    const node = g.producer(value);
    if (!node?.recompute) return value;
    const known = fresh.get(value.name);
    if (known) return known;
    const inputs = node.inputs.map((input) => input && again(input));
    if (inputs.every((input, index) => input === node.inputs[index])) {
      const smallest = inputs.filter((input) => input && isReal(input.dtype)).sort((a, b) => size(a!) - size(b!))[0]!;
      inputs[inputs.indexOf(smallest)] = apart(smallest);
    }
    const results = g.node(node.op, inputs, node.attributes, node.outputs);
    node.outputs.forEach((output, index) => fresh.set(output.name, results[index]!));
    return fresh.get(value.name)!;
  };
}

/** Elements, with a thousand for each size that only the feeds decide. */
function size({ shape }: Value): number {
  return shape.reduce<number>((product, dim) => product * (typeof dim === 'number' ? dim : 1000), 1);
}
