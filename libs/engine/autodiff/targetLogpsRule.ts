import { ops } from '@pairwise/onnx';
import type { Value } from '@pairwise/onnx';
import type { Rule } from './vjpContext.ts';
import { fullDy, inputOf } from './vjpContext.ts';

/**
 * y = log softmax(x h^T)[target]: dx = dy (dy/dx), which the operator gives as its second output. The gradient of the head is
 * (onehot(target) - p)^T x, weighted by dy, from whole logits: only small models train their heads.
 */
export const targetLogpsRule: Rule = (context) => {
  const { g, node, wants } = context;
  const { mul, unsqueeze } = ops(g);
  const dy = unsqueeze(fullDy(context), [1]); // [N, 1]
  return [wants(0) ? mul(dy, node.outputs[1]!) : undefined, wants(1) ? headGradient() : undefined];

  function headGradient(): Value {
    const { add, div, gather, gemm, neg, reduceSum, scatterAddRows, softmax, tanh } = ops(g);
    const [hidden, head, targets] = [inputOf(context, 0), inputOf(context, 1), inputOf(context, 2)];
    const cap = (node.attributes.softcap as { float: number } | undefined)?.float;
    const bent = (logits: Value) => (cap === undefined ? logits : mul(tanh(div(logits, cap)), cap));
    const slope = (logits: Value) => (cap === undefined ? 1 : add(neg(mul(div(logits, cap), div(logits, cap))), 1));
    const logits = bent(gemm(hidden, head, { transB: true })); // [N, V]
    const target = bent(reduceSum(mul(gather(head, targets), hidden), [-1])); // [N, 1]
    const dLogits = mul(mul(softmax(logits), slope(logits)), neg(dy)); // [N, V]
    return scatterAddRows(gemm(dLogits, hidden, { transA: true }), targets, mul(hidden, mul(dy, slope(target))));
  }
};
