import type { ModelConfig, RotaryConfig } from '@pairwise/model';
import { ggufArchitectures, ggufContextLength, windowPeriod } from './architectures.ts';
import { fileTypes, type GgufType } from './fileTypes.ts';
import { f32, text, u32, type GgufValue } from './values.ts';

/**
 * The metadata of a model's file: `general.*`, the keys of its architecture, and those of its tokenizer, which are given.
 * `name` is any text to show to users. `stripsSpaces` is that of the tokenizer.
 */
export function modelMetadata(
  config: ModelConfig,
  file: { name: string; type: GgufType; stripsSpaces: boolean },
  tokenizer: ReadonlyMap<string, GgufValue>,
): Map<string, GgufValue> {
  const { name } = ggufArchitectures[config.architecture];
  const [rotary] = config.rotaries as [RotaryConfig];
  return new Map<string, GgufValue>([
    ['general.architecture', text(name)],
    ['general.type', text('model')],
    ['general.name', text(nameOf(file))],
    ['general.file_type', u32(fileTypes[file.type].id)],
    ['general.quantization_version', u32(2)],
    [`${name}.block_count`, u32(config.layerCount)],
    [`${name}.context_length`, u32(ggufContextLength(config))],
    [`${name}.embedding_length`, u32(config.hiddenSize)],
    [`${name}.feed_forward_length`, u32(config.intermediateSize)],
    [`${name}.attention.head_count`, u32(config.headCount)],
    [`${name}.attention.head_count_kv`, u32(config.kvHeadCount)],
    [`${name}.attention.key_length`, u32(config.headDim)],
    [`${name}.attention.value_length`, u32(config.headDim)],
    [`${name}.attention.layer_norm_rms_epsilon`, f32(config.normEpsilon)],
    [`${name}.rope.dimension_count`, u32(rotary.dim)],
    [`${name}.rope.freq_base`, f32(rotary.theta)],
    [`${name}.vocab_size`, u32(config.vocabularySize)],
    ...[...ropeScaling(rotary), ...differences(config)].map(([key, value]) => [`${name}.${key}`, value] as const),
    ...tokenizer,
  ]);
}

/**
 * In every model whose name contains `phi3` or `phi-3`, llama.cpp removes the spaces after special tokens, and it cannot open
 * the file if a token of Phi 3 is missing. So the name decides how texts are read.
 */
function nameOf({ name, stripsSpaces }: { name: string; stripsSpaces: boolean }): string {
  if (!stripsSpaces) return name.replaceAll(/(phi)-?(?=3)/gi, '$1 ');
  return /phi-?3/i.test(name) ? name : `${name} (phi-3)`;
}

function ropeScaling({ scaling }: RotaryConfig): [string, GgufValue][] {
  switch (scaling?.type) {
    case 'linear':
      return [
        ['rope.scaling.type', text('linear')],
        ['rope.scaling.factor', f32(scaling.factor)],
      ];
    case 'yarn':
      return [
        ['rope.scaling.type', text('yarn')],
        ['rope.scaling.factor', f32(scaling.factor)],
        ['rope.scaling.original_context_length', u32(scaling.originalMaxPositionEmbeddings)],
        ['rope.scaling.yarn_beta_fast', f32(scaling.betaFast)],
        ['rope.scaling.yarn_beta_slow', f32(scaling.betaSlow)],
      ];
    case 'longrope':
      return [
        ['rope.scaling.original_context_length', u32(scaling.originalMaxPositionEmbeddings)],
        ['rope.scaling.attn_factor', f32(scaling.attentionFactor)],
      ];
    // Llama 3.1 has tensors instead (`ropeFactors`).
    default:
      return [];
  }
}

/** What some architectures have and others do not. */
function differences(config: ModelConfig): [string, GgufValue][] {
  const { architecture, layers, rotaries, attentionSoftcap, logitSoftcap, experts } = config;
  const keys: [string, GgufValue][] = [];
  const window = layers.find((layer) => layer.window !== undefined)?.window;
  if (ggufArchitectures[architecture].windows) {
    keys.push(['attention.sliding_window', u32(window ?? config.maxLength)]);
    keys.push(['attention.sliding_window_pattern', u32(windowPeriod(config)!)]);
    if (rotaries[1] !== undefined) keys.push(['rope.freq_base_swa', f32(rotaries[1].theta)]);
  }
  if (attentionSoftcap !== undefined) keys.push(['attn_logit_softcapping', f32(attentionSoftcap)]);
  if (logitSoftcap !== undefined) keys.push(['final_logit_softcapping', f32(logitSoftcap)]);
  if (experts !== undefined) {
    keys.push(
      ['expert_count', u32(experts.count)],
      ['expert_used_count', u32(experts.perToken)],
      ['expert_feed_forward_length', u32(experts.intermediateSize)],
    );
  }
  if (architecture === 'GraniteForCausalLM') {
    keys.push(
      ['attention.scale', f32(config.attentionScale)],
      ['embedding_scale', f32(config.embeddingScale)],
      ['residual_scale', f32(config.residualScale)],
      ['logit_scale', f32(1 / config.logitScale)],
    );
  }
  return keys;
}

/** The keys of a LoRA adapter for such a model. llama.cpp's scale is `alpha` divided by the rank. */
export function adapterMetadata(
  { architecture }: Pick<ModelConfig, 'architecture'>,
  file: { name: string; alpha: number },
): Map<string, GgufValue> {
  return new Map<string, GgufValue>([
    ['general.architecture', text(ggufArchitectures[architecture].name)],
    ['general.type', text('adapter')],
    ['general.name', text(file.name)],
    ['general.file_type', u32(fileTypes.F32.id)],
    ['adapter.type', text('lora')],
    ['adapter.lora.alpha', f32(file.alpha)],
  ]);
}
