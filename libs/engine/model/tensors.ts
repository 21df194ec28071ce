import { PairwiseError } from '@pairwise/errors';
import { architectures } from './architectures.ts';
import type { ModelConfig } from './config.ts';
import type { Experts } from './experts.ts';
import { biasName, expertName, linearName, routerName, type LinearModule } from './linearModules.ts';
import type { TensorPlace } from '@pairwise/safetensors';

/** A tensor of a base model, and the file that contains it. */
export interface Weight extends TensorPlace {
  file: string;
}

/** Shape `[out, in]` of a linear layer's weight. */
export function linearShape(config: ModelConfig, module: LinearModule): [number, number] {
  const { hiddenSize, intermediateSize, headDim } = config;
  const [queries, keys] = [config.headCount * headDim, config.kvHeadCount * headDim];
  const shapes: Record<LinearModule, [number, number]> = {
    q_proj: [queries, hiddenSize],
    k_proj: [keys, hiddenSize],
    v_proj: [keys, hiddenSize],
    qkv_proj: [queries + 2 * keys, hiddenSize],
    o_proj: [hiddenSize, queries],
    gate_proj: [intermediateSize, hiddenSize],
    up_proj: [intermediateSize, hiddenSize],
    gate_up_proj: [2 * intermediateSize, hiddenSize],
    down_proj: [hiddenSize, intermediateSize],
  };
  return shapes[module];
}

/** Every tensor that a model with this config has, with its shape, in the model's order. */
export function expectedTensors(config: ModelConfig): Map<string, number[]> {
  const { architecture, biases, hiddenSize, vocabularySize } = config;
  const { modules } = architectures[architecture];
  const tensors = new Map<string, number[]>([['model.embed_tokens.weight', [vocabularySize, hiddenSize]]]);
  for (let layer = 0; layer < config.layerCount; layer++) {
    for (const [norm, size] of layerNorms(config)) tensors.set(`model.layers.${layer}.${norm}.weight`, [size]);
    for (const module of modules) {
      const shape = linearShape(config, module);
      tensors.set(linearName(layer, module), shape);
      if (biases.includes(module)) tensors.set(biasName(layer, module), [shape[0]]);
    }
    if (config.experts !== undefined) setExperts(tensors, layer, hiddenSize, config.experts);
  }
  tensors.set('model.norm.weight', [hiddenSize]);
  if (!config.tieWordEmbeddings) tensors.set('lm_head.weight', [vocabularySize, hiddenSize]);
  return tensors;
}

function setExperts(tensors: Map<string, number[]>, layer: number, hiddenSize: number, experts: Experts): void {
  tensors.set(routerName(layer), [experts.count, hiddenSize]);
  for (let expert = 0; expert < experts.count; expert++) {
    tensors.set(expertName(layer, expert, 'gate_proj'), [experts.intermediateSize, hiddenSize]);
    tensors.set(expertName(layer, expert, 'up_proj'), [experts.intermediateSize, hiddenSize]);
    tensors.set(expertName(layer, expert, 'down_proj'), [hiddenSize, experts.intermediateSize]);
  }
}

/** The norms of a layer below `model.layers.N`, with their sizes. */
function layerNorms({ architecture, hiddenSize, headCount, kvHeadCount, headDim }: ModelConfig): [string, number][] {
  const { attentionNorms, mlpNorms, queryKeyNorm } = architectures[architecture];
  const blocks = [attentionNorms.before, attentionNorms.after, mlpNorms.before, mlpNorms.after];
  const sizes = { head: [headDim, headDim], token: [headCount * headDim, kvHeadCount * headDim] };
  const [query = 0, key = 0] = queryKeyNorm === undefined ? [] : sizes[queryKeyNorm];
  return [
    ...blocks.flatMap((name): [string, number][] => (name === undefined ? [] : [[name, hiddenSize]])),
    ...(queryKeyNorm === undefined
      ? []
      : ([
          ['self_attn.q_norm', query],
          ['self_attn.k_norm', key],
        ] as [string, number][])),
  ];
}

/** How many parameters a model with this config has. */
export function parameterCount(config: ModelConfig): number {
  return [...expectedTensors(config).values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

/** Tensors of older models that the forward pass does not read. */
const ignored = [/\.rotary_emb\.inv_freq$/, /^lm_head\.weight$/];

/**
 * Checks the tensors against the config and returns them by name. Throws MISSING_TENSOR, WRONG_SHAPE, and INVALID_MODEL for
 * a dtype other than F32, F16 and BF16, for an unexpected tensor, and for one that is in two files.
 */
export function checkTensors(config: ModelConfig, weights: readonly Weight[]): Map<string, Weight> {
  const expected = expectedTensors(config);
  const found = new Map<string, Weight>();
  for (const weight of weights) {
    const { name, file } = weight;
    if (found.has(name)) throw refuse('INVALID_MODEL', name, `is in ${found.get(name)!.file} and in ${file}`);
    if (!expected.has(name) && !ignored.some((pattern) => pattern.test(name))) {
      throw refuse(
        'INVALID_MODEL',
        name,
        `of ${file} does not belong to a ${config.architecture} with this config.json`,
      );
    }
    found.set(name, weight);
  }
  for (const [name, shape] of expected) {
    const weight = found.get(name);
    if (weight === undefined) throw refuse('MISSING_TENSOR', name, 'is missing from the model');
    if (weight.shape.join() !== shape.join()) {
      throw refuse(
        'WRONG_SHAPE',
        name,
        `has the shape [${weight.shape.join(', ')}]; config.json requires [${shape.join(', ')}]`,
      );
    }
    if (!['F32', 'F16', 'BF16'].includes(weight.dtype)) {
      throw refuse('INVALID_MODEL', name, `is stored as ${weight.dtype}; F32, F16 and BF16 are supported`);
    }
  }
  return found;
}

function refuse(reason: 'INVALID_MODEL' | 'MISSING_TENSOR' | 'WRONG_SHAPE', tensor: string, problem: string) {
  return new PairwiseError(reason, `the tensor '${tensor}' ${problem}`, { metadata: { tensor } });
}
