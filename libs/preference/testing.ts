/** The letters that stand for the 256 bytes in byte-level vocabularies (GPT-2's table). */
function byteLetters(): string[] {
  const plain = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(plain(byte) ? byte : next++));
}

/** For specs: the files of a byte-level BPE whose only long tokens are "blue" and " blue"; `change` goes into its JSON. */
export function byteLevelFiles(change: object = {}): { tokenizerJson: string; tokenizerConfig: string } {
  const merges = ['b l', 'bl u', 'blu e', 'Ġ blue'].map((merge) => merge.split(' '));
  const tokens = [...byteLetters(), ...merges.map((parts) => parts.join('')), '<s>', '</s>'];
  const special = ['<s>', '</s>'].map((content) => ({
    id: tokens.indexOf(content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const model = { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges };
  const parts = { normalizer: null, pre_tokenizer: byteLevel, post_processor: null, decoder: byteLevel };
  return {
    tokenizerJson: JSON.stringify({ version: '1.0', added_tokens: special, ...parts, model, ...change }),
    tokenizerConfig: JSON.stringify({ bos_token: '<s>', eos_token: '</s>', add_bos_token: true }),
  };
}
