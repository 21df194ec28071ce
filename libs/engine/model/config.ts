import { PairwiseError, shown } from '@pairwise/errors';
import { isRecord } from '@pairwise/safetensors';
import { refuseUnimplemented } from './configFields.ts';
import { parseRope, type RopeConfig } from './configRope.ts';
import { counter, flag, invalidField, real, type ConfigObject } from './configValues.ts';

/** The supported values of `architectures` in config.json. */
export const architectures = ['LlamaForCausalLM', 'MistralForCausalLM'] as const;
type Architecture = (typeof architectures)[number];

/** Everything that the arithmetic of a Llama-type model depends on, by its Hugging Face name. */
export interface ModelConfig extends RopeConfig {
  architecture: Architecture;
  hiddenSize: number;
  intermediateSize: number;
  layerCount: number;
  headCount: number;
  kvHeadCount: number;
  headDim: number;
  vocabularySize: number;
  /** The longest sequence in tokens: `max_position_embeddings`, or the sliding window if that is shorter. */
  maxLength: number;
  normEpsilon: number;
  /** Whether the embedding is also the head. `readBaseModel` sets it to what the weights say. */
  tieWordEmbeddings: boolean;
}

/** Every layer costs memory before the first weight has been read. */
const maxLayers = 1024;

/**
 * Reads the config.json of a Llama-type model, as transformers 4 or 5 writes it. A field that may change the arithmetic in a
 * way that is not implemented is refused by name; so is an unknown field, since it might.
 * Throws UNSUPPORTED_ARCHITECTURE, UNSUPPORTED_CONFIG, INVALID_MODEL.
 */
export function parseConfig(json: unknown): ModelConfig {
  if (!isRecord(json)) throw new PairwiseError('INVALID_MODEL', 'config.json is not a JSON object');
  const architecture = parseArchitecture(json);
  refuseUnimplemented(json);
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
  if (headDim % 2 !== 0) throw invalidField('head_dim', `is ${headDim}; rotary embeddings need an even number`);
  const maxPositions = count('max_position_embeddings');
  return {
    architecture,
    hiddenSize,
    intermediateSize: count('intermediate_size'),
    layerCount: count('num_hidden_layers', undefined, maxLayers),
    headCount,
    kvHeadCount,
    headDim,
    vocabularySize: count('vocab_size'),
    maxLength: Math.min(maxPositions, windowOf(json, architecture) ?? maxPositions),
    normEpsilon: real(json, 'rms_norm_eps', 1e-6),
    ...parseRope(json),
    tieWordEmbeddings: flag(json, 'tie_word_embeddings'),
  };
}

function parseArchitecture({ architectures: named }: ConfigObject): Architecture {
  const first: unknown = Array.isArray(named) ? named[0] : undefined;
  const known = architectures.find((architecture) => architecture === first);
  if (known !== undefined) return known;
  const message = `the architecture ${shown(first)} is not supported; supported are ${architectures.join(', ')}`;
  throw new PairwiseError('UNSUPPORTED_ARCHITECTURE', message, { field: 'architectures' });
}

/** The number of tokens that a token sees, itself included. null means all; Mistral's window has a default. */
function windowOf(json: ConfigObject, architecture: Architecture): number | undefined {
  if (json['sliding_window'] === null) return undefined;
  if (json['sliding_window'] !== undefined) return counter(json)('sliding_window');
  return architecture === 'MistralForCausalLM' ? 4096 : undefined;
}
