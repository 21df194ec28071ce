import { gradients } from '@pairwise/autodiff';
import {
  expectedTensors,
  frozenLinear,
  frozenWeights,
  loraLinears,
  packedInputs,
  tokenLogps,
  trainedWeights,
  type BaseModel,
  type LoraSettings,
  type ModelConfig,
  type Parameters,
} from '@pairwise/model';
import { graphBuilder, ops, type Graph, type GraphBuilder, type Value } from '@pairwise/onnx';

/** Version of the graphs and the optimizer: part of every fingerprint of what they compute. */
export const engineVersion = '1';

/** Inputs: those of `packTrees`. Output: `token_logps` `[targets]`, of the base as it is. */
export function referenceGraph(base: BaseModel): Graph {
  const g = graphBuilder('reference');
  const weight = frozenWeights(g, base);
  const { config } = base;
  g.output('token_logps', tokenLogps(g, config, packedInputs(g, config), { weight, linears: plainLinears(g, weight) }));
  return g.finish();
}

/** Inputs: those of `packTrees`, and the adapter's `lora_<layer>`. Output: `token_logps` `[targets]`. */
export function policyGraph(base: BaseModel, lora: LoraSettings): Graph {
  const g = graphBuilder('policy');
  const weight = frozenWeights(g, base);
  const { config } = base;
  const { linears } = loraLinears(g, config, lora, weight);
  g.output('token_logps', tokenLogps(g, config, packedInputs(g, config), { weight, linears }));
  return g.finish();
}

/**
 * Forward pass, DPO loss (Eq. 7 of arXiv 2305.18290, with label smoothing as in its cDPO note) and backward pass of a
 * micro-batch of P pairs. Inputs besides those of `policyGraph`: `chosen_sum` and `rejected_sum` `[P, targets]`, whose ones
 * say which targets a response has; `reference_chosen` and `reference_rejected` `[P, 1]`, logps in nats; the scalars
 * `beta`, `label_smoothing` and `pair_weight`, by which each pair's loss counts. Outputs: `loss`, `chosen_logps` and
 * `rejected_logps` `[P, 1]`, and for each layer `gradient_<layer>`.
 */
export function dpoGraph(base: BaseModel, lora: LoraSettings): Graph {
  const g = graphBuilder('dpo');
  const { add, matMul, mul, neg, reduceSum, reshape, softplus, sub } = ops(g);
  const weight = frozenWeights(g, base);
  const { config } = base;
  const { inputs, linears } = loraLinears(g, config, lora, weight);
  const logps = reshape(tokenLogps(g, config, packedInputs(g, config), { weight, linears }), ['N', 1]);
  const chosen = matMul(g.input('chosen_sum', 'float32', ['P', 'N']), logps);
  const rejected = matMul(g.input('rejected_sum', 'float32', ['P', 'N']), logps);
  const scalar = (name: string) => g.input(name, 'float32', []);
  const chosenLogratio = sub(chosen, g.input('reference_chosen', 'float32', ['P', 1]));
  const rejectedLogratio = sub(rejected, g.input('reference_rejected', 'float32', ['P', 1]));
  const rewardMargin = mul(sub(chosenLogratio, rejectedLogratio), scalar('beta'));
  // -(1 - e) log sigmoid(x) - e log sigmoid(-x) = softplus(-x) + e x
  const smoothed = add(softplus(neg(rewardMargin)), mul(rewardMargin, scalar('label_smoothing')));
  const loss = mul(reduceSum(smoothed, [0, 1], { keepDims: false }), scalar('pair_weight'));
  g.output('loss', loss);
  g.output('chosen_logps', chosen);
  g.output('rejected_logps', rejected);
  gradients(g, loss, inputs).forEach((gradient, layer) => g.output(`gradient_${layer}`, gradient));
  return g.finish();
}

/**
 * Forward and backward pass of a weighted cross entropy with all parameters trained. Inputs: those of `packTrees`,
 * every tensor of the model under its name, and `token_weights` `[targets]`. Outputs: `loss`, the sum of -weight log p,
 * and for each tensor `gradient/<name>`.
 */
export function crossEntropyGraph(config: ModelConfig): Graph {
  const g = graphBuilder('cross_entropy');
  const { mul, neg, reduceSum } = ops(g);
  const shapes = expectedTensors(config);
  const weight = trainedWeights(g, shapes);
  const inputs = [...shapes.keys()].map(weight);
  const logps = tokenLogps(g, config, packedInputs(g, config), { weight, linears: plainLinears(g, weight) });
  const weighted = mul(logps, g.input('token_weights', 'float32', ['N']));
  const loss = neg(reduceSum(weighted, [0], { keepDims: false }));
  g.output('loss', loss);
  gradients(g, loss, inputs).forEach((gradient, index) => g.output(`gradient/${inputs[index]!.name}`, gradient));
  return g.finish();
}

function plainLinears(g: GraphBuilder, weight: (name: string) => Value): Parameters['linears'] {
  return (x, layer, modules) => modules.map((module) => frozenLinear(g, x, layer, module, weight));
}
