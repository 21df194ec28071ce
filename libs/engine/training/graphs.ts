import { gradients, type ActivationCheckpointing } from '@pairwise/autodiff';
import {
  expectedTensors,
  frozenWeights,
  loraLinears,
  packedInputs,
  plainLinears,
  tokenLogps,
  trainedWeights,
  type BaseModel,
  type LoraSettings,
  type ModelConfig,
} from '@pairwise/model';
import { graphBuilder, ops, type Graph, type Value } from '@pairwise/onnx';
import { losses, type LossType } from './losses.ts';

/** Version of the graphs and of the optimizer. It is part of the fingerprint of everything that they compute. */
export const engineVersion = '3';

/** Inputs: those of `packTrees`. Output: `token_logps` `[targets]` of the base model without an adapter. */
export function referenceGraph(base: BaseModel): Graph {
  const g = graphBuilder('reference');
  const weight = frozenWeights(g, base);
  const { config } = base;
  g.output(
    'token_logps',
    tokenLogps(g, config, packedInputs(g, config), { weight, linears: plainLinears(g, config, weight) }),
  );
  return g.finish();
}

/** Inputs: those of `packTrees` and the adapter's `lora_<layer>`. Output: `token_logps` `[targets]`. */
export function policyGraph(base: BaseModel, lora: LoraSettings): Graph {
  const g = graphBuilder('policy');
  const weight = frozenWeights(g, base);
  const { config } = base;
  const { linears } = loraLinears(g, config, lora, weight);
  g.output('token_logps', tokenLogps(g, config, packedInputs(g, config), { weight, linears }));
  return g.finish();
}

/** The output of `dpoGraph` with the number of tokens of each expert of a layer, `[experts]`. */
export function expertLoadName(layer: number): string {
  return `expert_load_${layer}`;
}

/**
 * Forward pass, loss and backward pass of a micro-batch of P pairs. Inputs, besides those of `policyGraph`:
 * - `chosen_sum`, `rejected_sum` `[P, targets]`: 1 where a target belongs to the pair's response, else 0
 * - `reference_chosen`, `reference_rejected` `[P, 1]`: logps of the reference, in nats
 * - `beta`, `label_smoothing`: scalars
 * - `pair_weight`: a scalar that multiplies the sum of the pairs' losses
 *
 * Outputs: `loss`, `chosen_logps` and `rejected_logps` `[P, 1]`, and for each layer `gradient_<layer>` and, in models with
 * experts, `expert_load_<layer>`.
 *
 * `activationCheckpointing` says what the backward pass recomputes. Both give the same bits: `cheap` the norms and the MLP's
 * gate, `layers` all of a layer from its input, which takes less memory and about a quarter more time. @default 'cheap'
 */
export function dpoGraph(
  base: BaseModel,
  lora: LoraSettings,
  lossType: LossType,
  { activationCheckpointing }: { activationCheckpointing?: ActivationCheckpointing } = {},
): Graph {
  const g = graphBuilder('dpo');
  const { cast, matMul, mul, reduceSum, reshape, sub } = ops(g);
  const weight = frozenWeights(g, base);
  const { config } = base;
  const { inputs, linears } = loraLinears(g, config, lora, weight);
  const scalar = (name: string) => g.input(name, 'float32', []);
  const expertLoad = (layer: number, load: Value) => {
    g.output(expertLoadName(layer), cast(load, 'float32'));
  };
  const tokens = tokenLogps(g, config, packedInputs(g, config), { weight, linears, expertLoad }); // [N]
  const logps = reshape(tokens, ['N', 1]);
  const chosen = matMul(g.input('chosen_sum', 'float32', ['P', 'N']), logps); // [P, 1]
  const rejected = matMul(g.input('rejected_sum', 'float32', ['P', 'N']), logps); // [P, 1]
  const chosenLogratio = sub(chosen, g.input('reference_chosen', 'float32', ['P', 1])); // [P, 1]
  const rejectedLogratio = sub(rejected, g.input('reference_rejected', 'float32', ['P', 1])); // [P, 1]
  const settings = { beta: scalar('beta'), labelSmoothing: scalar('label_smoothing') };
  const pairLosses = losses[lossType].graph(g, { chosenLogratio, rejectedLogratio }, settings); // [P, 1]
  const loss = mul(reduceSum(pairLosses, [0, 1], { keepDims: false }), scalar('pair_weight')); // []
  g.output('loss', loss);
  g.output('chosen_logps', chosen);
  g.output('rejected_logps', rejected);
  gradients(g, loss, inputs, activationCheckpointing).forEach((gradient, layer) =>
    g.output(`gradient_${layer}`, gradient),
  );
  return g.finish();
}

/**
 * Forward and backward pass of a weighted cross entropy that trains all parameters. Inputs: those of `packTrees`, every
 * tensor of the model by its name, and `token_weights` `[targets]`. Outputs: `loss`, the sum of -weight log p, and
 * `gradient/<name>` for each tensor.
 */
export function crossEntropyGraph(config: ModelConfig): Graph {
  const g = graphBuilder('cross_entropy');
  const { mul, neg, reduceSum } = ops(g);
  const shapes = expectedTensors(config);
  const weight = trainedWeights(g, shapes);
  const parameters = [...shapes.keys()].map(weight);
  const logps = tokenLogps(g, config, packedInputs(g, config), { weight, linears: plainLinears(g, config, weight) }); // [N]
  const weighted = mul(logps, g.input('token_weights', 'float32', ['N'])); // [N]
  const loss = neg(reduceSum(weighted, [0], { keepDims: false })); // []
  g.output('loss', loss);
  gradients(g, loss, parameters).forEach((gradient, i) => g.output(`gradient/${parameters[i]!.name}`, gradient));
  return g.finish();
}
