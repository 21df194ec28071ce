import { batchTokens, decoderOf } from './decoder.ts';
import type { Decoder } from './decoder.ts';
import { chooseToken, seededRandom } from './sampling.ts';
import type { Llama, Pointer } from './native.ts';
import type { GenerateOptions, Generation, JudgeInfo, LlamaRequests, TokenizeOptions } from './requests.ts';

const defaultContextTokens = 2048;

/**
 * The most attention scores per head at a time: tokens that are computed together times tokens of the context. It keeps the
 * memory for them at 8 MiB per head, so that only the key-value cache grows with the context.
 */
const mostScores = 2 ** 21;
const float32 = 0;
const disabled = 0;

/** A GGUF file that is open in llama.cpp. The methods block; those of `Judge` have the same names. */
export interface LoadedModel {
  info: JudgeInfo;
  decoder: Decoder;
  generate(prompts: readonly Int32Array[], options: GenerateOptions): Generation[];
  tokenize(text: string, options: TokenizeOptions): Int32Array;
  detokenize(ids: Int32Array, showSpecial: boolean): string;
}

/**
 * Opens a GGUF file in llama.cpp, on the CPU. The key-value cache is float32 and attention is not fused, so that differences
 * from another engine come from the file and not from the cache. Throws if llama.cpp refuses the file.
 */
export function loadModel(llama: Llama, options: LlamaRequests['open']['args']): LoadedModel {
  const model = llama.llama_model_load_from_file(options.path, {
    ...llama.llama_model_default_params(),
    n_gpu_layers: 0,
    check_tensors: true,
  });
  if (model === null) throw new Error('llama.cpp cannot load the file');
  const contextTokens = options.contextTokens ?? Math.min(defaultContextTokens, llama.llama_model_n_ctx_train(model));
  const context = llama.llama_init_from_model(model, {
    ...llama.llama_context_default_params(),
    n_ctx: contextTokens,
    n_batch: batchTokens,
    n_ubatch: Math.max(1, Math.min(batchTokens, Math.floor(mostScores / contextTokens))),
    n_threads: options.threads,
    n_threads_batch: options.threads,
    flash_attn_type: disabled,
    type_k: float32,
    type_v: float32,
  });
  if (context === null) throw new Error(`llama.cpp cannot make a context of ${contextTokens} tokens`);
  if (options.adapterPath !== undefined) {
    const adapter = llama.llama_adapter_lora_init(model, options.adapterPath);
    const isApplied =
      adapter !== null && llama.llama_set_adapters_lora(context, [adapter], 1, Float32Array.of(1)) === 0;
    if (!isApplied) throw new Error('llama.cpp cannot load the adapter');
  }
  const vocab = llama.llama_model_get_vocab(model);
  const vocabSize = llama.llama_vocab_n_tokens(vocab);
  const info: JudgeInfo = {
    vocabSize,
    bosId: llama.llama_vocab_bos(vocab),
    eosId: llama.llama_vocab_eos(vocab),
    endIds: Int32Array.from({ length: vocabSize }, (_, id) => id).filter((id) => llama.llama_vocab_is_eog(vocab, id)),
    contextTokens,
  };
  const decoder = decoderOf(llama, context, info);
  return {
    info,
    decoder,
    generate: (prompts, wanted) =>
      prompts.map((prompt, index) => generate(llama, vocab, decoder, prompt, wanted, index)),
    tokenize: (text, wanted) => tokenize(llama, vocab, text, wanted),
    detokenize: (ids, showSpecial) => detokenize(llama, vocab, ids, showSpecial),
  };
}

function generate(
  llama: Llama,
  vocab: Pointer,
  decoder: Decoder,
  prompt: Int32Array,
  options: GenerateOptions,
  index: number,
): Generation {
  const random = seededRandom((options.seed ?? 0) + index);
  const stops = new Set(options.stopIds);
  const most = Math.min(options.maxTokens, decoder.contextTokens - prompt.length);
  const ids: number[] = [];
  let logits = decoder.begin(prompt);
  while (ids.length < most) {
    const id = chooseToken(logits, options.temperature, random);
    if (stops.has(id) || llama.llama_vocab_is_eog(vocab, id)) return { ids: Int32Array.from(ids), stopped: true };
    ids.push(id);
    if (ids.length < most) logits = decoder.next(id);
  }
  return { ids: Int32Array.from(ids), stopped: false };
}

function tokenize(llama: Llama, vocab: Pointer, text: string, options: TokenizeOptions): Int32Array {
  const bytes = new TextEncoder().encode(text);
  const tokens = new Int32Array(bytes.length + 4);
  const { addSpecial, parseSpecial } = options;
  const count = llama.llama_tokenize(vocab, bytes, bytes.length, tokens, tokens.length, addSpecial, parseSpecial);
  if (count < 0) throw new Error(`llama_tokenize returned ${count}`);
  return tokens.slice(0, count);
}

function detokenize(llama: Llama, vocab: Pointer, ids: Int32Array, showSpecial: boolean): string {
  const pieces = Array.from(ids, (id) => {
    const buffer = new Uint8Array(1024);
    const length = llama.llama_token_to_piece(vocab, id, buffer, buffer.length, 0, showSpecial);
    if (length < 0) throw new Error(`token ${id} has a text of ${-length} bytes`);
    return buffer.subarray(0, length);
  });
  return Buffer.concat(pieces).toString('utf8');
}
