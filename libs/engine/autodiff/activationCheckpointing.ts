import { isReal, ops, product } from '@pairwise/onnx';
import type { GraphBuilder, Node, Value } from '@pairwise/onnx';

/** What the backward pass recomputes: only what is cheap to compute, or all that is between the ends of the layers. */
export type ActivationCheckpointing = 'cheap' | 'layers';

/**
 * Returns the function by which the backward pass reads values of the forward pass. It recomputes the outputs of marked nodes
 * from values that are kept, and returns any other value as it is. `dy` is a gradient at the place of the backward pass
 * that reads the value.
 *
 * A runtime would merge the two computations. So where the second one begins, its smallest input is multiplied by a factor
 * of 1 that the runtime cannot foresee: 0 * dy + 1, with one element of dy. This also keeps a layer from being recomputed
 * before the backward pass has reached it.
 */
export function activationCheckpointing(
  g: GraphBuilder,
  level: ActivationCheckpointing,
): (value: Value, dy: Value) => Value {
  const { add, cast, gather, mul, reshape, scalar } = ops(g);
  const recomputed = new Map<string, Value>();

  function afterGradient(value: Value, dy: Value): Value {
    const element = gather(reshape(dy, [product(dy.shape)]), scalar('int32', 0)); // []
    return mul(value, cast(add(mul(element, 0), 1), value.dtype));
  }

  const isKept = ({ recompute }: Node) => recompute === 'never' || (recompute === 'layers' && level === 'cheap');

  return function forBackward(value, dy) {
    const node = g.producer(value);
    if (!node || isKept(node)) return value;
    const known = recomputed.get(value.name);
    if (known) return known;
    const [smallest] = node.inputs.filter(isOfBatch).sort((a, b) => size(a) - size(b));
    // Without any, the value comes from weights alone, such as one that was cast; a barrier would copy the weight.
    if (!smallest) return value;
    const inputs = node.inputs.map((input) => input && forBackward(input, dy));
    if (inputs.every((input, index) => input === node.inputs[index])) {
      inputs[inputs.indexOf(smallest)] = afterGradient(smallest, dy);
    }
    const outputs = g.node(node.op, inputs, node.attributes, node.outputs);
    node.outputs.forEach((output, index) => recomputed.set(output.name, outputs[index]!));
    return recomputed.get(value.name)!;
  };
}

/** Whether it is a real value whose size a batch decides, unlike that of a weight. */
function isOfBatch(value: Value | undefined): value is Value {
  return value !== undefined && isReal(value.dtype) && value.shape.some((dim) => typeof dim === 'string');
}

/** The number of elements, with a guess of 1000 for each named size. */
function size({ shape }: Value): number {
  return shape.reduce<number>((total, dim) => total * (typeof dim === 'number' ? dim : 1000), 1);
}
