import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';
import { checkStructures, structures } from './structures.ts';
import type { Batch, ContextParams, ModelParams, QuantizeParams } from './structures.ts';

/** An address in llama.cpp. */
export type Pointer = bigint & { readonly brand?: unique symbol };

/** The functions of llama.h and ggml-backend.h that we call. Only the child process may load them (see child.ts). */
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
  llama_adapter_lora_init(model: Pointer, path: string): Pointer | null;
  /** 0 is success. */
  llama_set_adapters_lora(context: Pointer, adapters: Pointer[], count: number, scales: Float32Array): number;
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
  llama_adapter_lora_init: 'void *llama_adapter_lora_init(void *model, const char *path)',
  llama_set_adapters_lora:
    'int32_t llama_set_adapters_lora(void *context, void **adapters, size_t count, const float *scales)',
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

/** Loads llama.cpp's libraries from a folder. Throws if the structures of that release are not the declared ones. */
export function loadLlama(folder: string): Llama {
  const library = (stem: string) => join(folder, libraryName(folder, stem));
  for (const [name, fields] of Object.entries(structures)) koffi.struct(name, fields);
  const ggml = koffi.load(library('ggml'));
  const llama = koffi.load(library('llama'));
  const functions = Object.entries(declarations).map(([name, declaration]): [string, unknown] => [
    name,
    (name.startsWith('ggml_') ? ggml : llama).func(declaration),
  ]);
  const loaded = Object.fromEntries(functions) as unknown as Llama;
  checkStructures(
    loaded.llama_model_quantize_default_params(),
    loaded.llama_model_default_params(),
    loaded.llama_context_default_params(),
  );
  loaded.ggml_backend_load_all_from_path(folder);
  return loaded;
}

/** Copies `count` floats from an address in llama.cpp. */
export function floatsAt(address: Pointer, count: number): Float32Array {
  return koffi.decode(address, koffi.array('float', count, 'Typed')) as Float32Array;
}

/** The name depends on platform and release: `libllama.so`, `libllama.v0.5.0.so`, `libllama.dylib`, `llama.dll`. */
function libraryName(folder: string, stem: string): string {
  const pattern = new RegExp(`^(lib)?${stem}(\\.v[0-9.]+)?\\.(so|dylib|dll)$`);
  const name = readdirSync(folder).find((file) => pattern.test(file));
  if (name === undefined) throw new Error(`llama.cpp's library ${stem} is missing from ${folder}`);
  return name;
}
