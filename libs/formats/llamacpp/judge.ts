import { headerOf } from './header.ts';
import { startLlama, withComplaint } from './process.ts';
import type {
  Divergence,
  GenerateOptions,
  Generation,
  JudgedSequence,
  JudgeInfo,
  TokenizeOptions,
} from './requests.ts';

/** A GGUF file that is open in llama.cpp. Concurrent requests are answered one after the other. */
export interface Judge extends JudgeInfo {
  /** For each sequence, log p(ids[i] | ids[..i]) for i from 1, in nats: one number fewer than tokens. */
  tokenLogps(sequences: readonly Int32Array[]): Promise<Float64Array[]>;
  /** Compares the distributions with those of the file at `path`, which has the same vocabulary. */
  divergenceFrom(path: string, sequences: readonly JudgedSequence[]): Promise<Divergence>;
  /** Continues each prompt. The same file, prompts and options give the same tokens. */
  generate(prompts: readonly Int32Array[], options: GenerateOptions): Promise<Generation[]>;
  tokenize(text: string, options: TokenizeOptions): Promise<Int32Array>;
  /** The text of tokens as llama.cpp streams it, including a leading space. `showSpecial`: whether to include special tokens. */
  detokenize(ids: Int32Array, showSpecial: boolean): Promise<string>;
  close(): Promise<void>;
}

/**
 * Opens a GGUF file in llama.cpp, in a process of its own. `adapterPath` is a GGUF file with an adapter of the
 * model; by default there is none. `contextTokens` defaults to the model's context length, at most 2048. `threads` defaults to 1, because llama.cpp's threads wait for each other by spinning, which a busy machine cannot afford.
 * Throws `INVALID_FILE` if the file is invalid or llama.cpp refuses it, and `UNAVAILABLE` without llama.cpp; requests throw
 * `INTERNAL`.
 */
export async function openJudge(
  path: string,
  options: { adapterPath?: string | undefined; contextTokens?: number; threads?: number } = {},
): Promise<Judge> {
  await headerOf(path);
  const llama = await startLlama();
  const { adapterPath, contextTokens, threads = 1 } = options;
  try {
    const info = await llama.request('open', { path, adapterPath, contextTokens, threads }, 'INVALID_FILE');
    return {
      ...info,
      tokenLogps: (sequences) => llama.request('tokenLogps', { sequences }, 'INTERNAL'),
      divergenceFrom: async (other, sequences) => {
        await headerOf(other);
        return llama.request('divergence', { path: other, threads, sequences }, 'INTERNAL');
      },
      generate: (prompts, wanted) => llama.request('generate', { prompts, options: wanted }, 'INTERNAL'),
      tokenize: (text, wanted) => llama.request('tokenize', { text, options: wanted }, 'INTERNAL'),
      detokenize: (ids, showSpecial) => llama.request('detokenize', { ids, showSpecial }, 'INTERNAL'),
      async close() {
        await llama.end();
      },
    };
  } catch (error) {
    throw withComplaint(error, await llama.end());
  }
}
