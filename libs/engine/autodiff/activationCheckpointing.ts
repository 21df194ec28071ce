import { isReal, ops } from '@pairwise/onnx';
import type { GraphBuilder, Value } from '@pairwise/onnx';

/**
 * Returns the function by which the backward pass reads values of the forward pass. It recomputes the outputs of nodes
 * marked `recompute` from values that are kept, and returns any other value as it is.
 *
 * A runtime would merge the two computations. So one input of the second, the smallest, is multiplied by a factor of 1 that
 * the runtime cannot foresee: 0 * loss + 1. This also keeps the second computation from running before the loss is known.
 */
export function activationCheckpointing(g: GraphBuilder, loss: Value): (value: Value) => Value {
  const { add, cast, mul, reshape } = ops(g);
  const recomputed = new Map<string, Value>();

  function afterLoss(value: Value): Value {
    const one = add(mul(reshape(loss, []), 0), 1);
    return mul(value, cast(one, value.dtype));
  }

  return function forBackward(value) {
    const node = g.producer(value);
    if (!node?.recompute) return value;
    const known = recomputed.get(value.name);
    if (known) return known;
    const inputs = node.inputs.map((input) => input && forBackward(input));
    if (inputs.every((input, index) => input === node.inputs[index])) {
      const smallest = inputs.filter((input) => input && isReal(input.dtype)).sort((a, b) => size(a!) - size(b!))[0]!;
      inputs[inputs.indexOf(smallest)] = afterLoss(smallest);
    }
    const outputs = g.node(node.op, inputs, node.attributes, node.outputs);
    node.outputs.forEach((output, index) => recomputed.set(output.name, outputs[index]!));
    return recomputed.get(value.name)!;
  };
}

/** The number of elements, with a guess of 1000 for each named size. */
function size({ shape }: Value): number {
  return shape.reduce<number>((product, dim) => product * (typeof dim === 'number' ? dim : 1000), 1);
}
