import { byteLevelTokenizer } from '@pairwise/testing';

/** For specs: the files of a byte-level BPE whose only long tokens are "blue" and " blue"; `change` goes into its JSON. */
export function byteLevelFiles(change: object = {}): { tokenizerJson: string; tokenizerConfig: string } {
  const merges: [string, string][] = [
    ['b', 'l'],
    ['bl', 'u'],
    ['blu', 'e'],
    ['Ġ', 'blue'],
  ];
  return {
    tokenizerJson: JSON.stringify({ ...byteLevelTokenizer(merges, ['<s>', '</s>']), ...change }),
    tokenizerConfig: JSON.stringify({ bos_token: '<s>', eos_token: '</s>', add_bos_token: true }),
  };
}

/** Fails on any text only after more attempts than the library of regular expressions allows. */
const endless = { Regex: '(?:|(?=a)|(?!b))'.repeat(16) + '(?<=z)' };
const grow = { type: 'Replace', pattern: { String: 'a' }, content: 'a'.repeat(100) };

/** For specs: what in a tokenizer.json ends the process that opens it, or takes its memory. */
export const hostileTokenizers: Record<string, object> = {
  'a Precompiled normalizer of garbage': {
    normalizer: { type: 'Precompiled', precompiled_charsmap: Buffer.alloc(64, 0xff).toString('base64') },
  },
  'a post-processor that names a missing token': {
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '[NONE]', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: {},
    },
  },
  'an endless Split': { pre_tokenizer: { type: 'Split', pattern: endless, behavior: 'Isolated', invert: false } },
  'an endless Replace': { normalizer: { type: 'Replace', pattern: endless, content: '' } },
  'a text that keeps growing': {
    normalizer: { type: 'Sequence', normalizers: Array.from({ length: 8 }, () => grow) },
  },
};

/** For specs: as `endless`, but short texts are let through. */
export const endlessOnLongTexts = {
  normalizer: { type: 'Replace', pattern: { Regex: '(?:.|.)+(?<=\\x01)' }, content: '' },
};

/** For specs: a chat template that takes hours. */
export const endlessTemplate =
  ['a', 'b', 'c', 'd'].map((name) => `{% for ${name} in range(1000) %}`).join('') + '{% endfor %}'.repeat(4);
