import { PairwiseError, shown } from '@pairwise/errors';
import { isRecord } from '@pairwise/safetensors';
import {
  architectureNames,
  architectures,
  type Architecture,
  type ArchitectureName,
  type Differences,
  type LayerAttention,
} from './architectures.ts';
import { refuseUnimplemented } from './configFields.ts';
import { parseRotaries, type RotaryConfig } from './configRope.ts';
import { counter, flag, invalidField, real, type ConfigObject } from './configValues.ts';

/** Everything that the arithmetic of a decoder depends on, besides what its architecture declares. */
export interface ModelConfig extends Required<Differences> {
  architecture: ArchitectureName;
  hiddenSize: number;
  intermediateSize: number;
  layerCount: number;
  headCount: number;
  kvHeadCount: number;
  headDim: number;
  vocabularySize: number;
  /** The longest sequence in tokens. */
  maxLength: number;
  normEpsilon: number;
  /** The rotary embeddings that layers refer to. */
  rotaries: RotaryConfig[];
  /** Whether the embedding is also the head. `readBaseModel` sets it to what the weights say. */
  tieWordEmbeddings: boolean;
}

/** Every layer costs memory before the first weight has been read. */
const maxLayers = 1024;

/**
 * Reads config.json, as transformers 4 or 5 writes it. A field that may change the arithmetic in a way that is not
 * implemented is refused by name; so is an unknown field, since it might.
 * Throws UNSUPPORTED_ARCHITECTURE, UNSUPPORTED_CONFIG, INVALID_MODEL.
 */
export function parseConfig(file: unknown): ModelConfig {
  const json = textConfig(file);
  const architecture = parseArchitecture(json);
  const declared: Architecture = architectures[architecture];
  refuseUnimplemented(json, declared);
  return readConfig(architecture, declared, { ...declared.defaults, ...json });
}

/**
 * The config of what generates text: config.json itself, or the `text_config` of a folder for images and text, with the
 * architecture that such a model has on its own. Throws UNSUPPORTED_CONFIG, INVALID_MODEL.
 */
export function textConfig(file: unknown): ConfigObject {
  if (!isRecord(file)) throw new PairwiseError('INVALID_MODEL', 'config.json is not a JSON object');
  const { text_config: text, ...outer } = file;
  if (!isMultimodal(file)) return file;
  if (!isRecord(text)) throw invalidField('text_config', 'is not an object');
  refuseUnimplemented(outer, { reads: multimodalFields, activation: 'gelu_pytorch_tanh' });
  return { ...text, architectures: ['Gemma3ForCausalLM'] };
}

/** Whether config.json describes a model for images and text whose text part is supported. */
export function isMultimodal({ architectures: named }: ConfigObject): boolean {
  return Array.isArray(named) && named[0] === 'Gemma3ForConditionalGeneration';
}

/** What a model for images and text says besides its `text_config`. */
const multimodalFields = [
  'vision_config',
  'mm_tokens_per_image',
  'boi_token_index',
  'eoi_token_index',
  'image_token_index',
];

function readConfig(architecture: ArchitectureName, declared: Architecture, json: ConfigObject): ModelConfig {
  const count = counter(json);
  const headCount = count('num_attention_heads');
  const hiddenSize = count('hidden_size');
  const kvHeadCount = count('num_key_value_heads', headCount);
  const headDim = count('head_dim', hiddenSize / headCount);
  if (headCount % kvHeadCount !== 0) {
    throw invalidField(
      'num_key_value_heads',
      `is ${kvHeadCount}, which does not divide the ${headCount} attention heads`,
    );
  }
  const layerCount = count('num_hidden_layers', undefined, maxLayers);
  const { rotaries, maxLength } = parseRotaries(json, {
    headDim,
    maxPositions: count('max_position_embeddings'),
    partial: declared.reads.includes('partial_rotary_factor'),
  });
  return {
    architecture,
    hiddenSize,
    intermediateSize: count('intermediate_size'),
    layerCount,
    headCount,
    kvHeadCount,
    headDim,
    vocabularySize: count('vocab_size'),
    maxLength,
    normEpsilon: real(json, 'rms_norm_eps', 1e-6),
    rotaries,
    tieWordEmbeddings: flag(json, 'tie_word_embeddings'),
    biases: [],
    layers: Array.from({ length: layerCount }, (): LayerAttention => ({ window: undefined, rotary: 0 })),
    attentionScale: 1 / Math.sqrt(headDim),
    embeddingScale: 1,
    residualScale: 1,
    logitScale: 1,
    attentionSoftcap: undefined,
    logitSoftcap: undefined,
    experts: undefined,
    ...declared.differences(json, { hiddenSize, layerCount, headDim }),
  };
}

function parseArchitecture({ architectures: named }: ConfigObject): ArchitectureName {
  const first: unknown = Array.isArray(named) ? named[0] : undefined;
  const known = architectureNames.find((architecture) => architecture === first);
  if (known !== undefined) return known;
  const message = `the architecture ${shown(first)} is not supported; supported are ${architectureNames.join(', ')}`;
  throw new PairwiseError('UNSUPPORTED_ARCHITECTURE', message, { field: 'architectures' });
}
