import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expectedTensors, parseConfig } from '@pairwise/model';
import { writeSafetensors } from '@pairwise/safetensors';
import { uniformStream } from '@pairwise/training';
import { byteLevelTokenizer } from './byteLevelTokenizer.ts';

const llama = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  bos_token_id: 256,
  eos_token_id: 257,
  torch_dtype: 'float32',
};

/**
 * Writes a model folder in Hugging Face layout: a Llama with random weights whose tokens are bytes. It has learnt
 * nothing, which suffices for every test except those of quality, and it takes milliseconds instead of minutes. `name`
 * is written to config.json, where it changes only digests. `special` are special tokens besides
 * the BOS (id 256) and the EOS (id 257).
 */
export function writeTinyModel(folder: string, name = 'tiny', special: readonly string[] = []): void {
  mkdirSync(folder, { recursive: true });
  const config = { ...llama, vocab_size: 258 + special.length };
  const uniform = uniformStream(1, 'tiny model');
  const tensors = [...expectedTensors(parseConfig(config))].map(([name, shape]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const center = shape.length === 1 ? 1 : 0;
    const data = Float32Array.from({ length: size }, () => center + (uniform() - 0.5) * 0.4);
    return { name, dtype: 'F32' as const, shape, data };
  });
  const tokenizerConfig = {
    bos_token: '<s>',
    eos_token: '</s>',
    add_bos_token: true,
    tokenizer_class: 'GPT2TokenizerFast',
  };
  const json = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
  json('config.json', { ...config, _name_or_path: name });
  json('tokenizer.json', byteLevelTokenizer([], ['<s>', '</s>', ...special]));
  json('tokenizer_config.json', tokenizerConfig);
  writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(tensors));
}

/** Preference pairs of made-up words, all different, as JSONL. */
export function tinyPairs(count: number, seed = 1): string {
  const uniform = uniformStream(seed, 'tiny pairs');
  const word = () =>
    Array.from({ length: 3 + Math.floor(uniform() * 5) }, () => 'aeioulmnrst'[Math.floor(uniform() * 11)]).join('');
  const words = (length: number) => Array.from({ length }, word).join(' ');
  const row = () => ({ prompt: `${words(3)}?`, chosen: ` ${words(2)}.`, rejected: ` ${words(5)}.` });
  return Array.from({ length: count }, () => `${JSON.stringify(row())}\n`).join('');
}
