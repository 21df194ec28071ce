/** The characters that stand for the 256 bytes in byte-level vocabularies (GPT-2's table), in byte order. */
function byteLetters(): string[] {
  const plain = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(plain(byte) ? byte : next++));
}

/**
 * Returns a byte-level BPE as the contents of a Hugging Face `tokenizer.json`. Ids: the 256 bytes, then the results of
 * `merges`, then the `special` tokens.
 */
export function byteLevelTokenizer(merges: readonly [string, string][], special: readonly string[]) {
  const tokens = [...byteLetters(), ...merges.map((pair) => pair.join('')), ...special];
  const vocab = Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content) => ({
      id: vocab[content]!,
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
      vocab,
      merges,
    },
  };
}
