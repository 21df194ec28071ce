import { add, expand, isReal, product } from '@pairwise/onnx';
import type { GraphBuilder, Node, Value } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';
import type { Rule } from './step.ts';
import { elementwiseRules } from './elementwise.ts';
import { linearRules } from './linear.ts';
import { rearrangeRules } from './rearrange.ts';
import { recomputer } from './recompute.ts';
import { reduceRules } from './reduce.ts';

/** Every operator through which gradients flow. Operators with integer or bool results and StopGradient need no rule. */
export const rules: Readonly<Record<string, Rule>> = {
  ...elementwiseRules,
  ...linearRules,
  ...reduceRules,
  ...rearrangeRules,
};

/**
 * Appends to a graph the gradients of `loss` (one element) with respect to the values `wrt`, in their order and shapes.
 * Reverse-mode: one walk back over the nodes that lie between `wrt` and the loss; nothing is added for any other.
 * The order of the additions is that of the nodes, so that the same graph gives the same bits.
 * Throws `INVALID_ARGUMENT` for an operator without a rule (by name) and for a value that does not influence the loss.
 */
export function gradients(g: GraphBuilder, loss: Value, wrt: readonly Value[]): readonly Value[] {
  if (!isReal(loss.dtype) || product(loss.shape) !== 1) {
    throw new PairwiseError('WRONG_SHAPE', `the loss ${loss.name} [${loss.shape.join(', ')}] is not one real number`);
  }
  const nodes = [...g.nodes()];
  const active = reachedFrom(nodes, wrt);
  const found = new Map<string, Value>();
  found.set(loss.name, g.constant(loss.dtype, loss.shape as number[], [1]));
  const again = recomputer(g, loss);
  for (const node of nodes.reverse()) {
    const dy = node.outputs.map((value) => found.get(value.name));
    const wants = (index: number) => active.has(node.inputs[index]?.name ?? '');
    const between = node.op !== 'StopGradient' && node.inputs.some((_, index) => wants(index));
    if (!between || dy.every((value) => value === undefined)) continue;
    const inputs = node.inputs.map((input) => input && again(input));
    const results = ruleOf(node)({ g, node: { ...node, inputs, outputs: node.outputs.map(again) }, dy, wants });
    node.inputs.forEach((input, index) => {
      const gradient = results[index];
      if (!input || !gradient || !wants(index)) return;
      const other = found.get(input.name);
      found.set(input.name, other ? add(g, other, gradient) : gradient);
    });
  }
  return wrt.map((value) => {
    const gradient = found.get(value.name);
    if (!gradient) throw new PairwiseError('INVALID_ARGUMENT', `${value.name} does not influence ${loss.name}`);
    return expand(g, gradient, value.shape, value);
  });
}

/** Names of the real values that `wrt` influences, by paths that no StopGradient cuts. */
function reachedFrom(nodes: readonly Node[], wrt: readonly Value[]): ReadonlySet<string> {
  const reached = new Set(wrt.map(({ name }) => name));
  for (const node of nodes) {
    if (node.op === 'StopGradient' || !node.inputs.some((input) => input && reached.has(input.name))) continue;
    for (const output of node.outputs) if (isReal(output.dtype)) reached.add(output.name);
  }
  return reached;
}

function ruleOf(node: Node): Rule {
  const rule = rules[node.op];
  if (!rule) throw new PairwiseError('INVALID_ARGUMENT', `no gradient rule for the operator ${node.op} (${node.name})`);
  return rule;
}
