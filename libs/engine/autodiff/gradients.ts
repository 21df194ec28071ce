import { isReal, ops, product } from '@pairwise/onnx';
import type { GraphBuilder, Node, Value } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';
import { activationCheckpointing, type ActivationCheckpointing } from './activationCheckpointing.ts';
import { gradientRules } from './rules.ts';

/**
 * Appends the gradients of `loss` (one element) with respect to the values `wrt`, in their order and shapes.
 * Reverse mode: one walk back over the nodes between `wrt` and the loss; no other node costs anything.
 * Sums are taken in the order of the nodes, so the same graph gives the same bits, at any `level` of recomputation.
 * Throws INVALID_ARGUMENT for an operator without a rule, by name, and for a value that does not influence the loss.
 */
export function gradients(
  g: GraphBuilder,
  loss: Value,
  wrt: readonly Value[],
  level: ActivationCheckpointing = 'cheap',
): readonly Value[] {
  if (!isReal(loss.dtype) || product(loss.shape) !== 1) {
    throw new PairwiseError(
      'WRONG_SHAPE',
      `the loss ${loss.name} [${loss.shape.join(', ')}] is not a single real number`,
    );
  }
  const { add, expand } = ops(g);
  const table = gradientRules(g);
  const nodes = [...g.nodes()];
  const reached = reachedFrom(nodes, wrt);
  const found = new Map([[loss.name, g.constant(loss.dtype, loss.shape as number[], [1])]]);
  const forBackward = activationCheckpointing(g, level);
  for (const node of nodes.reverse()) {
    const dy = node.outputs.map((output) => found.get(output.name));
    const wants = (index: number) => reached.has(node.inputs[index]?.name ?? '');
    const between = node.op !== 'StopGradient' && node.inputs.some((_, index) => wants(index));
    const known = dy.find((gradient) => gradient !== undefined);
    if (!between || known === undefined) continue;
    const inputs = node.inputs.map((input) => input && forBackward(input, known));
    const outputs = node.outputs.map((output) => forBackward(output, known));
    const rule = table[node.op];
    if (!rule) throw withoutRule(node);
    const results = rule({ g, node: { ...node, inputs, outputs }, dy, wants });
    node.inputs.forEach((input, index) => {
      const gradient = results[index];
      if (!input || !gradient || !wants(index)) return;
      const other = found.get(input.name);
      found.set(input.name, other ? add(other, gradient) : gradient);
    });
  }
  return wrt.map((value) => {
    const gradient = found.get(value.name);
    if (!gradient) throw new PairwiseError('INVALID_ARGUMENT', `${value.name} does not influence ${loss.name}`);
    return expand(gradient, value.shape, value);
  });
}

/** Names of the real values that depend on `wrt`, not counting paths through a StopGradient. */
function reachedFrom(nodes: readonly Node[], wrt: readonly Value[]): ReadonlySet<string> {
  const reached = new Set(wrt.map(({ name }) => name));
  for (const node of nodes) {
    if (node.op === 'StopGradient' || !node.inputs.some((input) => input && reached.has(input.name))) continue;
    for (const output of node.outputs) if (isReal(output.dtype)) reached.add(output.name);
  }
  return reached;
}

function withoutRule({ op, name }: Node): PairwiseError {
  return new PairwiseError('INVALID_ARGUMENT', `the operator ${op} does not have a gradient rule (${name})`);
}
