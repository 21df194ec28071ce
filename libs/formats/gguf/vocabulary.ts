import type { GgufValue } from './values.ts';

/** The values of `tokenizer.ggml.token_type` (llama.h, `llama_token_type`). */
export const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface Vocabulary {
  /** The `tokenizer.*` keys. */
  metadata: Map<string, GgufValue>;
  /** Sentences for the user about what llama.cpp does differently from the tokenizer; usually none. */
  caveats: string[];
}

export interface GgufTokenizer extends Vocabulary {
  /** Those caveats that are about texts for which llama.cpp may give other ids. */
  differences: string[];
  /** The text of the bos token if llama.cpp puts it before every prompt; otherwise undefined. */
  bosAdded: string | undefined;
  /** Whether llama.cpp is to remove the spaces after special tokens, as for a Phi 3. */
  stripsSpaces: boolean;
}
