import { mul, reduceSum, sub, unsqueeze } from '@pairwise/onnx';
import type { Value } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';
import type { Rule, Step } from './step.ts';
import { fullDy, inputOf, resultOf, smallDy } from './step.ts';

function reducedAxes({ g, node }: Step): number[] {
  return g.constantData(node.inputs[1]!)!.map(Number);
}

/** dy with the reduced axes back as size 1: every element that was summed has the same gradient. */
function restored(step: Step): Value {
  if (step.node.attributes.keepdims === 1) return smallDy(step);
  return unsqueeze(step.g, fullDy(step), reducedAxes(step));
}

function reduceMeanRule(step: Step): readonly Value[] {
  const count = reducedAxes(step).reduce((product, axis) => product * Number(inputOf(step).shape[axis]), 1);
  if (Number.isNaN(count)) {
    const problem = `${step.node.name} is a mean over a size known to the feeds only: divide a ReduceSum by a fed count`;
    throw new PairwiseError('INVALID_ARGUMENT', problem);
  }
  return [mul(step.g, restored(step), 1 / count)];
}

/** y = softmax(x): dx = y * dy - y * sum(y * dy). */
function softmaxRule(step: Step): readonly Value[] {
  const { g, node } = step;
  const y = resultOf(step);
  const weighted = mul(g, y, smallDy(step));
  return [sub(g, weighted, mul(g, y, reduceSum(g, weighted, [node.attributes.axis as number])))];
}

export const reduceRules: Readonly<Record<string, Rule>> = {
  ReduceSum: (step) => [restored(step)],
  ReduceMean: reduceMeanRule,
  Softmax: softmaxRule,
};
