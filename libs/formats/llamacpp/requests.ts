/** What the child process does for us, by name: arguments and result. Everything is plain data. */
export interface LlamaRequests {
  quantize: { args: { input: string; output: string; fileType: number; threads: number }; result: null };
  open: { args: { path: string; contextTokens: number | undefined; threads: number }; result: JudgeInfo };
  tokenLogps: { args: { sequences: readonly Int32Array[] }; result: Float64Array[] };
  generate: { args: { prompts: readonly Int32Array[]; options: GenerateOptions }; result: Generation[] };
  tokenize: { args: { text: string; options: TokenizeOptions }; result: Int32Array };
  detokenize: { args: { ids: Int32Array; showSpecial: boolean }; result: string };
}

export type LlamaRequestName = keyof LlamaRequests;

export interface JudgeInfo {
  vocabSize: number;
  bosId: number;
  eosId: number;
  /** Tokens that one sequence may have. */
  contextTokens: number;
}

export interface GenerateOptions {
  /** New tokens per prompt at most; generation also ends where the context is full. */
  maxTokens: number;
  /** 0 takes the likeliest token every time. */
  temperature: number;
  /** Seed of the first prompt; every next one has one more. Unused at temperature 0. Default: 0. */
  seed?: number;
  /** Tokens that end a generation, besides those that the file itself gives as ends (eos, end of turn). */
  stopIds?: readonly number[];
}

export interface Generation {
  /** The new tokens, without the one that ended it. */
  ids: Int32Array;
  /** Whether it ended with a stop token, rather than at a limit. */
  stopped: boolean;
}

export interface TokenizeOptions {
  /** Put bos before and eos after the text where the file says so. */
  addSpecial: boolean;
  /** Take the texts of special tokens for these tokens. */
  parseSpecial: boolean;
}

/** From parent to child. */
export interface LlamaRequest {
  id: number;
  name: LlamaRequestName;
  args: LlamaRequests[LlamaRequestName]['args'];
}

/** From child to parent. */
export type LlamaReply = { id: number; result: unknown } | { id: number; error: string };
