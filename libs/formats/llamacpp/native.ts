import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';

/** An address in llama.cpp. */
export type Pointer = bigint & { readonly brand?: unique symbol };

/** The functions of llama.h that Pairwise calls. Only the child process may load them (see child.ts). */
export interface Llama {
  ggml_backend_load_all_from_path(folder: string): void;
  llama_model_quantize_default_params(): QuantizeParams;
  /** 0 is success. */
  llama_model_quantize(input: string, output: string, params: QuantizeParams): number;
  llama_model_default_params(): ModelParams;
  llama_model_load_from_file(path: string, params: ModelParams): Pointer | null;
  llama_model_n_ctx_train(model: Pointer): number;
  llama_model_get_vocab(model: Pointer): Pointer;
  llama_context_default_params(): ContextParams;
  llama_init_from_model(model: Pointer, params: ContextParams): Pointer | null;
  llama_n_ctx(context: Pointer): number;
  llama_get_memory(context: Pointer): Pointer;
  llama_memory_clear(memory: Pointer, data: boolean): void;
  /** 0 is success. */
  llama_decode(context: Pointer, batch: Batch): number;
  llama_get_logits_ith(context: Pointer, index: number): Pointer | null;
  llama_vocab_n_tokens(vocab: Pointer): number;
  llama_vocab_bos(vocab: Pointer): number;
  llama_vocab_eos(vocab: Pointer): number;
  llama_vocab_is_eog(vocab: Pointer, token: number): boolean;
  llama_tokenize(
    vocab: Pointer,
    text: Uint8Array,
    length: number,
    tokens: Int32Array,
    most: number,
    addSpecial: boolean,
    parseSpecial: boolean,
  ): number;
  llama_token_to_piece(
    vocab: Pointer,
    token: number,
    buffer: Uint8Array,
    length: number,
    lstrip: number,
    special: boolean,
  ): number;
}

export interface QuantizeParams {
  nthread: number;
  ftype: number;
  [field: string]: unknown;
}

export interface ModelParams {
  n_gpu_layers: number;
  check_tensors: boolean;
  [field: string]: unknown;
}

export interface ContextParams {
  n_ctx: number;
  n_batch: number;
  n_ubatch: number;
  n_threads: number;
  n_threads_batch: number;
  flash_attn_type: number;
  type_k: number;
  type_v: number;
  [field: string]: unknown;
}

export interface Batch {
  n_tokens: number;
  token: Int32Array;
  /** One byte per token: whether its logits are wanted. */
  logits: Int8Array;
}

const quantizeParams = {
  nthread: 'int32_t',
  ftype: 'int32_t',
  output_tensor_type: 'int32_t',
  token_embedding_type: 'int32_t',
  allow_requantize: 'bool',
  quantize_output_tensor: 'bool',
  only_copy: 'bool',
  pure: 'bool',
  keep_split: 'bool',
  dry_run: 'bool',
  imatrix: 'void *',
  kv_overrides: 'void *',
  tt_overrides: 'void *',
  prune_layers: 'void *',
  max_buf_size: 'size_t',
};

const modelParams = {
  devices: 'void *',
  tensor_buft_overrides: 'void *',
  n_gpu_layers: 'int32_t',
  split_mode: 'int32_t',
  load_mode: 'int32_t',
  lazy_mode: 'int32_t',
  main_gpu: 'int32_t',
  tensor_split: 'void *',
  progress_callback: 'void *',
  progress_callback_user_data: 'void *',
  kv_overrides: 'void *',
  vocab_only: 'bool',
  check_tensors: 'bool',
  use_extra_bufts: 'bool',
  no_host: 'bool',
  no_alloc: 'bool',
  load_mtp: 'bool',
};

const contextParams = {
  n_ctx: 'uint32_t',
  n_batch: 'uint32_t',
  n_ubatch: 'uint32_t',
  n_seq_max: 'uint32_t',
  n_rs_seq: 'uint32_t',
  n_outputs_max: 'uint32_t',
  n_outputs_max_per_seq: 'uint32_t',
  n_threads: 'int32_t',
  n_threads_batch: 'int32_t',
  ctx_type: 'int32_t',
  rope_scaling_type: 'int32_t',
  pooling_type: 'int32_t',
  attention_type: 'int32_t',
  flash_attn_type: 'int32_t',
  rope_freq_base: 'float',
  rope_freq_scale: 'float',
  yarn_ext_factor: 'float',
  yarn_attn_factor: 'float',
  yarn_beta_fast: 'float',
  yarn_beta_slow: 'float',
  yarn_orig_ctx: 'uint32_t',
  defrag_thold: 'float',
  cb_eval: 'void *',
  cb_eval_user_data: 'void *',
  type_k: 'int32_t',
  type_v: 'int32_t',
  abort_callback: 'void *',
  abort_callback_data: 'void *',
  embeddings: 'bool',
  offload_kqv: 'bool',
  no_perf: 'bool',
  op_offload: 'bool',
  swa_full: 'bool',
  kv_unified: 'bool',
  samplers: 'void *',
  n_samplers: 'size_t',
  ctx_other: 'void *',
};

const batch = {
  n_tokens: 'int32_t',
  token: 'int32_t *',
  embd: 'void *',
  pos: 'void *',
  n_seq_id: 'void *',
  seq_id: 'void *',
  logits: 'int8_t *',
};

const declarations: Record<keyof Llama, string> = {
  ggml_backend_load_all_from_path: 'void ggml_backend_load_all_from_path(const char *folder)',
  llama_model_quantize_default_params: 'llama_model_quantize_params llama_model_quantize_default_params()',
  llama_model_quantize:
    'uint32_t llama_model_quantize(const char *input, const char *output, const llama_model_quantize_params *params)',
  llama_model_default_params: 'llama_model_params llama_model_default_params()',
  llama_model_load_from_file: 'void *llama_model_load_from_file(const char *path, llama_model_params params)',
  llama_model_n_ctx_train: 'int32_t llama_model_n_ctx_train(void *model)',
  llama_model_get_vocab: 'void *llama_model_get_vocab(void *model)',
  llama_context_default_params: 'llama_context_params llama_context_default_params()',
  llama_init_from_model: 'void *llama_init_from_model(void *model, llama_context_params params)',
  llama_n_ctx: 'uint32_t llama_n_ctx(void *context)',
  llama_get_memory: 'void *llama_get_memory(void *context)',
  llama_memory_clear: 'void llama_memory_clear(void *memory, bool data)',
  llama_decode: 'int32_t llama_decode(void *context, llama_batch batch)',
  llama_get_logits_ith: 'void *llama_get_logits_ith(void *context, int32_t index)',
  llama_vocab_n_tokens: 'int32_t llama_vocab_n_tokens(void *vocab)',
  llama_vocab_bos: 'int32_t llama_vocab_bos(void *vocab)',
  llama_vocab_eos: 'int32_t llama_vocab_eos(void *vocab)',
  llama_vocab_is_eog: 'bool llama_vocab_is_eog(void *vocab, int32_t token)',
  llama_tokenize:
    'int32_t llama_tokenize(void *vocab, const uint8_t *text, int32_t length, _Out_ int32_t *tokens, int32_t most, bool add_special, bool parse_special)',
  llama_token_to_piece:
    'int32_t llama_token_to_piece(void *vocab, int32_t token, _Out_ uint8_t *buffer, int32_t length, int32_t lstrip, bool special)',
};

/**
 * Loads llama.cpp's libraries from a folder and declares what we call of them. The structures above are those of the
 * pinned release; another release may have others, which the defaults give away: then this throws.
 */
export function loadLlama(folder: string): Llama {
  const library = (stem: string) => join(folder, libraryName(folder, stem));
  koffi.struct('llama_model_quantize_params', quantizeParams);
  koffi.struct('llama_model_params', modelParams);
  koffi.struct('llama_context_params', contextParams);
  koffi.struct('llama_batch', batch);
  const ggml = koffi.load(library('ggml'));
  const llama = koffi.load(library('llama'));
  const functions = Object.entries(declarations).map(([name, declaration]): [string, unknown] => [
    name,
    (name.startsWith('ggml_') ? ggml : llama).func(declaration),
  ]);
  const loaded = Object.fromEntries(functions) as unknown as Llama;
  checkLayouts(loaded);
  loaded.ggml_backend_load_all_from_path(folder);
  return loaded;
}

/** Copies `count` floats that llama.cpp holds at an address. */
export function floatsAt(address: Pointer, count: number): Float32Array {
  return koffi.decode(address, koffi.array('float', count, 'Typed')) as Float32Array;
}

/** `libllama.so`, `libllama.v0.5.0.so`, `libllama.dylib`, `llama.dll`: the name depends on the platform and release. */
function libraryName(folder: string, stem: string): string {
  const pattern = new RegExp(`^(lib)?${stem}(\\.v[0-9.]+)?\\.(so|dylib|dll)$`);
  const name = readdirSync(folder).find((file) => pattern.test(file));
  if (name === undefined) throw new Error(`there is no library ${stem} of llama.cpp in ${folder}`);
  return name;
}

function checkLayouts(llama: Llama): void {
  const quantize = llama.llama_model_quantize_default_params();
  const model = llama.llama_model_default_params();
  const context = llama.llama_context_default_params();
  const asKnown =
    quantize.ftype === 7 &&
    quantize['allow_requantize'] === false &&
    quantize['quantize_output_tensor'] === true &&
    quantize['imatrix'] === null &&
    Number(quantize['max_buf_size']) === 2 ** 33 &&
    model['load_mode'] === -1 &&
    model['kv_overrides'] === null &&
    model['use_extra_bufts'] === true &&
    context.n_ctx === 512 &&
    context.n_batch === 2048 &&
    context.flash_attn_type === -1 &&
    context['defrag_thold'] === -1 &&
    context.type_k === 1 &&
    context.type_v === 1 &&
    context['offload_kqv'] === true &&
    context['swa_full'] === true &&
    context['ctx_other'] === null;
  if (!asKnown) throw new Error('this release of llama.cpp has other structures than the ones declared here');
}
