import type { GgufValue } from './values.ts';

/** One row of the vocabulary as `tokenizer.ggml.token_type` has it (llama.h, `llama_token_type`). */
export const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface Vocabulary {
  /** The `tokenizer.*` keys. */
  metadata: Map<string, GgufValue>;
  /** In which texts llama.cpp's ids may differ from the tokenizer's own, in words for a user. Usually none. */
  caveats: string[];
}

export interface GgufTokenizer extends Vocabulary {
  /** Text of the bos token, where llama.cpp puts it before every prompt by itself. */
  bosAdded: string | undefined;
}
