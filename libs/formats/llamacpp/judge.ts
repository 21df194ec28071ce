import { headerOf } from './header.ts';
import { startLlama, withComplaint } from './process.ts';
import type { GenerateOptions, Generation, JudgeInfo, TokenizeOptions } from './requests.ts';

/** A GGUF file as llama.cpp runs it. Requests may be made at once and are answered in turn. */
export interface Judge extends JudgeInfo {
  /** Per sequence, log p(ids[i] | ids[..i]) for i from 1 on, in nats: one number fewer than tokens. */
  tokenLogps(sequences: readonly Int32Array[]): Promise<Float64Array[]>;
  /** Continues each prompt. The same options and file give the same tokens. */
  generate(prompts: readonly Int32Array[], options: GenerateOptions): Promise<Generation[]>;
  tokenize(text: string, options: TokenizeOptions): Promise<Int32Array>;
  /** The text of tokens as llama.cpp streams it, leading space included. Special tokens are shown or left out. */
  detokenize(ids: Int32Array, showSpecial: boolean): Promise<string>;
  close(): Promise<void>;
}

/**
 * Opens a GGUF file in llama.cpp, in a process of its own. `contextTokens` defaults to the model's own, at most 2048;
 * `threads` to 1: on a busy machine llama.cpp's threads wait for each other by spinning.
 * Throws `INVALID_FILE` where the file is not sound or llama.cpp refuses it; later requests throw `INTERNAL`.
 */
export async function openJudge(
  path: string,
  options: { contextTokens?: number; threads?: number } = {},
): Promise<Judge> {
  await headerOf(path);
  const llama = await startLlama();
  const { contextTokens, threads = 1 } = options;
  try {
    const info = await llama.request('open', { path, contextTokens, threads }, 'INVALID_FILE');
    return {
      ...info,
      tokenLogps: (sequences) => llama.request('tokenLogps', { sequences }, 'INTERNAL'),
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
