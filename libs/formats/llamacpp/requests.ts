/** The requests to the child process by name, with arguments and result. All of it is plain data. */
export interface LlamaRequests {
  quantize: { args: QuantizeRequest; result: null };
  open: {
    args: { path: string; adapterPath: string | undefined; contextTokens: number | undefined; threads: number };
    result: JudgeInfo;
  };
  tokenLogps: { args: { sequences: readonly Int32Array[] }; result: Float64Array[] };
  divergence: {
    args: { path: string; threads: number; sequences: readonly JudgedSequence[] };
    result: Divergence;
  };
  generate: { args: { prompts: readonly Int32Array[]; options: GenerateOptions }; result: Generation[] };
  tokenize: { args: { text: string; options: TokenizeOptions }; result: Int32Array };
  detokenize: { args: { ids: Int32Array; showSpecial: boolean }; result: string };
}

export type LlamaRequestName = keyof LlamaRequests;

export interface JudgeInfo {
  vocabSize: number;
  bosId: number;
  eosId: number;
  /** Every token at which llama.cpp ends a generation. */
  endIds: Int32Array;
  /** The most tokens of a sequence. */
  contextTokens: number;
}

/** A sequence of which the tokens from position `from` on are judged. */
export interface JudgedSequence {
  ids: Int32Array;
  /** At least 1. */
  from: number;
}

/** How far the distributions of a file's next tokens are from those of another file, per judged token. */
export interface Divergence {
  /** Mean KL divergence of this file from the other, in nats. */
  klDivergence: number;
  /** Share of tokens at which both files find the same token most likely, from 0 to 1. */
  topAgreement: number;
  /** Logps of the judged tokens of each sequence, in nats. */
  logps: Float64Array[];
  /** The same of the other file. */
  otherLogps: Float64Array[];
}

export interface QuantizeRequest {
  input: string;
  output: string;
  /** A value of `llama_ftype`. */
  fileType: number;
  threads: number;
  importance: Importance;
}

/** How much each weight of a tensor's rows matters, `[in]`, by llama.cpp's name of the tensor. */
export type Importance = ReadonlyMap<string, Float32Array>;

export interface GenerateOptions {
  /** The most new tokens per prompt; generation also ends when the context is full. */
  maxTokens: number;
  /** 0 takes the most likely token each time. */
  temperature: number;
  /** The seed of the first prompt; prompt i uses seed + i. Ignored at temperature 0. @default 0 */
  seed?: number;
  /** Tokens that end a generation, in addition to those of the file (eos, end of turn). */
  stopIds?: readonly number[];
}

export interface Generation {
  /** The new tokens, without the stop token. */
  ids: Int32Array;
  /** Whether it ended with a stop token rather than at a limit. */
  stopped: boolean;
}

export interface TokenizeOptions {
  /** Adds bos before and eos after the text if the file asks for it. */
  addSpecial: boolean;
  /** Reads the texts of special tokens as these tokens. */
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
