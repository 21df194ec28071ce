/*
 * The multiply-adds of a model, from its shapes. For T rows and N targets, with W the weights `[out, in]` of the linear layers
 * that a row goes through, E the hidden size, F the intermediate size of an expert, V the vocabulary and r the rank:
 *
 *     linear    sum over W of out in, and with experts also E experts + 3 E F perToken, in every layer
 *     adapter   sum over adapted W of r (in + out), in every layer
 *     forward   T linear + N V E
 *     training  T (2 linear + 3 adapter) + 2 N V E
 *               with recomputed layers another T (linear + adapter), without the product that ends a dense layer
 *
 * A frozen W costs x W^T forward and dy W backward; the factors of an adapter cost their own gradients as well. The head's
 * slope is one more product with it. Left out are attention, which depends on the lengths of the texts, and everything that
 * is not a matrix product: a rate that was measured in these operations includes the time of the rest. The first layer's
 * queries, keys and values are counted as if the gradient of their input were computed, which it is not.
 */
import type { ActivationCheckpointing } from '@pairwise/autodiff';
import {
  adaptedModules,
  architectures,
  linearShape,
  rowCount,
  targetCount,
  type LoraSettings,
  type ModelConfig,
} from '@pairwise/model';
import { treeOf, type TrainingPair } from './dpo.ts';

/** How much goes through a model: rows through its layers, and targets through its head. */
export interface WorkSize {
  rows: number;
  targets: number;
}

/** The size of some pairs. */
export function workSize(pairs: readonly Pick<TrainingPair, 'prompt' | 'chosen' | 'rejected'>[]): WorkSize {
  const trees = pairs.map(treeOf);
  return {
    rows: trees.reduce((sum, tree) => sum + rowCount(tree), 0),
    targets: trees.reduce((sum, tree) => sum + targetCount(tree), 0),
  };
}

/** The multiply-adds of a forward pass: T linear + N V E. */
export function forwardOperations(config: ModelConfig, { rows, targets }: WorkSize): number {
  return rows * linearOperations(config) + targets * headOperations(config);
}

/** The multiply-adds of a forward and backward pass that trains an adapter. They are those of `dpoGraph`. */
export function trainingOperations(
  config: ModelConfig,
  lora: LoraSettings,
  { rows, targets }: WorkSize,
  activationCheckpointing: ActivationCheckpointing,
): number {
  const [linear, adapter] = [linearOperations(config), adapterOperations(config, lora)];
  const recomputed = activationCheckpointing === 'layers' ? linear + adapter - endOperations(config, lora) : 0;
  return rows * (2 * linear + 3 * adapter + recomputed) + 2 * targets * headOperations(config);
}

/** The products whose result is only added to the residual stream, which is kept. */
function endOperations(config: ModelConfig, lora: LoraSettings): number {
  if (config.experts !== undefined) return 0;
  const [outputs, inputs] = linearShape(config, 'down_proj');
  const rank = adaptedModules(config.architecture, lora).includes('down_proj') ? lora.r : 0;
  return config.layerCount * outputs * (inputs + rank);
}

function linearOperations(config: ModelConfig): number {
  const { architecture, experts, hiddenSize, layerCount } = config;
  const sizes = architectures[architecture].modules.map((module) => linearShape(config, module));
  const dense = sizes.reduce((sum, [outputs, inputs]) => sum + outputs * inputs, 0);
  if (experts === undefined) return layerCount * dense;
  const routed = hiddenSize * experts.count + 3 * hiddenSize * experts.intermediateSize * experts.perToken;
  return layerCount * (dense + routed);
}

function adapterOperations(config: ModelConfig, lora: LoraSettings): number {
  const sizes = adaptedModules(config.architecture, lora).map((module) => linearShape(config, module));
  return config.layerCount * sizes.reduce((sum, [outputs, inputs]) => sum + lora.r * (inputs + outputs), 0);
}

function headOperations({ vocabularySize, hiddenSize }: ModelConfig): number {
  return vocabularySize * hiddenSize;
}
