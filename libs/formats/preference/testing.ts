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
