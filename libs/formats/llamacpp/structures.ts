/* The structures of llama.h in the pinned release. */

export interface QuantizeParams {
  nthread: number;
  ftype: number;
  /** Ends with an entry whose name is null. */
  imatrix: ImportanceEntry[] | null;
  [field: string]: unknown;
}

/** The importance of each weight of a tensor's rows. */
export interface ImportanceEntry {
  name: string | null;
  data: Float32Array | null;
  size: number;
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
  /** One byte per token: 1 if its logits are wanted. */
  logits: Int8Array;
}

/** The fields of each structure in C, in order. */
export const structures = {
  llama_model_imatrix_data: {
    name: 'const char *',
    data: 'const float *',
    size: 'size_t',
  },

  llama_model_quantize_params: {
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
    imatrix: 'const llama_model_imatrix_data *',
    kv_overrides: 'void *',
    tt_overrides: 'void *',
    prune_layers: 'void *',
    max_buf_size: 'size_t',
  },

  llama_model_params: {
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
  },

  llama_context_params: {
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
  },

  llama_batch: {
    n_tokens: 'int32_t',
    token: 'int32_t *',
    embd: 'void *',
    pos: 'void *',
    n_seq_id: 'void *',
    seq_id: 'void *',
    logits: 'int8_t *',
  },
};

/**
 * Throws if llama.cpp's defaults, read with the structures above, are not those of the pinned release: then another release
 * has other structures.
 */
export function checkStructures(quantize: QuantizeParams, model: ModelParams, context: ContextParams): void {
  const asKnown =
    quantize.ftype === 7 &&
    quantize['allow_requantize'] === false &&
    quantize['quantize_output_tensor'] === true &&
    quantize.imatrix === null &&
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
  if (!asKnown) throw new Error('the structures of this release of llama.cpp are not those of the pinned release');
}
