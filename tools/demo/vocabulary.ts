import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BPE, byteLevelAlphabet, byteLevelPreTokenizer, Tokenizer } from 'tokenizers';
import { chatTemplate, end, specialTokens } from './chat.ts';

/**
 * Trains a byte-level BPE tokenizer on a text. Returns the contents of a Hugging Face `tokenizer.json` with `size` tokens: the
 * special ones, the 256 bytes, and the first merges that Hugging Face's trainer finds. The result depends only on the text.
 */
export async function trainTokenizer(text: string, size: number) {
  const merges = (await trainedMerges(text)).slice(0, size - specialTokens.length - 256);
  const bytes = byteLevelAlphabet().sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const tokens = [...specialTokens, ...bytes, ...merges.map((pair) => pair.join(''))];
  if (new Set(tokens).size !== size) {
    throw new Error(`the text yields only ${new Set(tokens).size} of ${size} tokens`);
  }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

/** Contents of `tokenizer_config.json`. */
export function tokenizerConfig(maxLength: number) {
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    eos_token: end,
    model_max_length: maxLength,
    clean_up_tokenization_spaces: false,
    chat_template: chatTemplate,
  };
}

/**
 * All merges in the order of training. The binding's trainer has no settings and always trains up to 30,000 tokens. BPE
 * training is greedy, so a smaller vocabulary is simply the first of these merges.
 */
async function trainedMerges(text: string): Promise<[string, string][]> {
  const folder = await mkdtemp(join(tmpdir(), 'pairwise-tokenizer-'));
  try {
    const [input, output] = [join(folder, 'text'), join(folder, 'tokenizer.json')];
    await writeFile(input, text);
    const tokenizer = new Tokenizer(BPE.empty());
    tokenizer.setPreTokenizer(byteLevelPreTokenizer(false, true));
    tokenizer.train([input]);
    tokenizer.save(output);
    const saved = JSON.parse(await readFile(output, 'utf8')) as { model: { merges: [string, string][] } };
    return saved.model.merges;
  } finally {
    await rm(folder, { recursive: true });
  }
}
