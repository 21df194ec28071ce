import { PairwiseError } from '@pairwise/errors';
import type { ModelConfig } from './config.ts';
import type { TensorPlace } from '@pairwise/safetensors';

/** A tensor of a base model, and the file that contains it. */
export interface Weight extends TensorPlace {
  file: string;
}

/** The linear layers that an adapter can change, in the model's order, with their names below `model.layers.N`. */
export const linearModules = {
  q_proj: 'self_attn.q_proj',
  k_proj: 'self_attn.k_proj',
  v_proj: 'self_attn.v_proj',
  o_proj: 'self_attn.o_proj',
  gate_proj: 'mlp.gate_proj',
  up_proj: 'mlp.up_proj',
  down_proj: 'mlp.down_proj',
} as const;
export type LinearModule = keyof typeof linearModules;
/** The same layers by name: what `target_modules` may list. */
export const targetModules = Object.keys(linearModules) as LinearModule[];

/** Shape `[out, in]` of a linear layer's weight. */
export function linearShape(config: ModelConfig, module: LinearModule): [number, number] {
  const { hiddenSize, intermediateSize, headDim } = config;
  const [queries, keys] = [config.headCount * headDim, config.kvHeadCount * headDim];
  const shapes: Record<LinearModule, [number, number]> = {
    q_proj: [queries, hiddenSize],
    k_proj: [keys, hiddenSize],
    v_proj: [keys, hiddenSize],
    o_proj: [hiddenSize, queries],
    gate_proj: [intermediateSize, hiddenSize],
    up_proj: [intermediateSize, hiddenSize],
    down_proj: [hiddenSize, intermediateSize],
  };
  return shapes[module];
}

/** A linear layer's weight as Hugging Face names it. */
export function linearName(layer: number, module: LinearModule): string {
  return `model.layers.${layer}.${linearModules[module]}.weight`;
}

/** Every tensor that a model with this config has, with its shape, in the model's order. */
export function expectedTensors(config: ModelConfig): Map<string, number[]> {
  const { hiddenSize, vocabularySize } = config;
  const tensors = new Map<string, number[]>([['model.embed_tokens.weight', [vocabularySize, hiddenSize]]]);
  for (let layer = 0; layer < config.layerCount; layer++) {
    tensors.set(`model.layers.${layer}.input_layernorm.weight`, [hiddenSize]);
    tensors.set(`model.layers.${layer}.post_attention_layernorm.weight`, [hiddenSize]);
    for (const module of targetModules) {
      tensors.set(linearName(layer, module), linearShape(config, module));
    }
  }
  tensors.set('model.norm.weight', [hiddenSize]);
  if (!config.tieWordEmbeddings) tensors.set('lm_head.weight', [vocabularySize, hiddenSize]);
  return tensors;
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
