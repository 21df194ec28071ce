import { chooseToken, logSoftmaxAt, seededRandom } from './sampling.ts';
import type { Llama, Pointer } from './native.ts';
import { floatsAt } from './native.ts';
import type { Batch } from './structures.ts';
import type { GenerateOptions, Generation, JudgeInfo, TokenizeOptions } from './requests.ts';

/** The tokens per call of llama_decode, which limits the memory for logits. */
const batchTokens = 256;
const defaultContextTokens = 2048;
const float32 = 0;
const disabled = 0;

/** A GGUF file that is open in llama.cpp. The methods are those of `Judge`, and block. */
export interface LoadedModel {
  info: JudgeInfo;
  tokenLogps(sequences: readonly Int32Array[]): Float64Array[];
  generate(prompts: readonly Int32Array[], options: GenerateOptions): Generation[];
  tokenize(text: string, options: TokenizeOptions): Int32Array;
  detokenize(ids: Int32Array, showSpecial: boolean): string;
}

/**
 * Opens a GGUF file in llama.cpp, on the CPU. The key-value cache is float32 and attention is not fused, so that differences
 * from another engine come from the file and not from the cache. Throws if llama.cpp refuses the file.
 */
export function loadModel(
  llama: Llama,
  options: { path: string; contextTokens: number | undefined; threads: number },
): LoadedModel {
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
    n_ubatch: batchTokens,
    n_threads: options.threads,
    n_threads_batch: options.threads,
    flash_attn_type: disabled,
    type_k: float32,
    type_v: float32,
  });
  if (context === null) throw new Error(`llama.cpp cannot make a context of ${contextTokens} tokens`);
  const vocab = llama.llama_model_get_vocab(model);
  const info: JudgeInfo = {
    vocabSize: llama.llama_vocab_n_tokens(vocab),
    bosId: llama.llama_vocab_bos(vocab),
    eosId: llama.llama_vocab_eos(vocab),
    contextTokens,
  };
  const decoder = decoderOf(llama, context, info);
  return {
    info,
    tokenLogps: (sequences) => sequences.map((ids) => decoder.tokenLogps(ids)),
    generate: (prompts, wanted) =>
      prompts.map((prompt, index) => generate(llama, vocab, decoder, prompt, wanted, index)),
    tokenize: (text, wanted) => tokenize(llama, vocab, text, wanted),
    detokenize: (ids, showSpecial) => detokenize(llama, vocab, ids, showSpecial),
  };
}

/** Runs one sequence at a time through the model. Throws for an empty or too long sequence and for unknown tokens. */
interface Decoder {
  contextTokens: number;
  /** Log p(ids[i] | ids[..i]) for i from 1, in nats: one number fewer than tokens. */
  tokenLogps(ids: Int32Array): Float64Array;
  /** Starts a new sequence with a prompt. Returns the logits after its last token. */
  begin(ids: Int32Array): Float32Array;
  /** Appends a token to the sequence. Returns the logits after it. */
  next(id: number): Float32Array;
}

function decoderOf(llama: Llama, context: Pointer, { vocabSize, contextTokens }: JudgeInfo): Decoder {
  const memory = llama.llama_get_memory(context);
  const check = (ids: Int32Array) => {
    if (ids.length === 0 || ids.length > contextTokens) {
      throw new Error(`a sequence has ${ids.length} tokens; it must have 1 to ${contextTokens}`);
    }
    const stray = ids.find((id) => id < 0 || id >= vocabSize);
    if (stray !== undefined) throw new Error(`token ${stray} is not in the vocabulary of ${vocabSize}`);
  };
  /** Appends tokens to the sequence. */
  const decode = (batch: Batch) => {
    const code = llama.llama_decode(context, batch);
    if (code !== 0) throw new Error(`llama_decode returned ${code}`);
  };
  const logitsAt = (index: number) => {
    const address = llama.llama_get_logits_ith(context, index);
    if (address === null) throw new Error('llama.cpp has no logits for the token');
    return floatsAt(address, vocabSize);
  };
  return {
    contextTokens,
    tokenLogps(ids) {
      check(ids);
      llama.llama_memory_clear(memory, true);
      const logps = new Float64Array(ids.length - 1);
      for (let start = 0; start < ids.length; start += batchTokens) {
        const token = ids.slice(start, start + batchTokens);
        decode({ n_tokens: token.length, token, logits: new Int8Array(token.length).fill(1) });
        for (let index = 0; index < token.length && start + index < logps.length; index++) {
          logps[start + index] = logSoftmaxAt(logitsAt(index), ids[start + index + 1]!);
        }
      }
      return logps;
    },
    begin(ids) {
      check(ids);
      llama.llama_memory_clear(memory, true);
      let last = 0;
      for (let start = 0; start < ids.length; start += batchTokens) {
        const token = ids.slice(start, start + batchTokens);
        last = token.length - 1;
        decode({ n_tokens: token.length, token, logits: new Int8Array(token.length).fill(1, last) });
      }
      return logitsAt(last);
    },
    next(id) {
      decode({ n_tokens: 1, token: Int32Array.of(id), logits: Int8Array.of(1) });
      return logitsAt(0);
    },
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
