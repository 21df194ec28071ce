import { fingerprintOf, type Digest } from '@pairwise/fingerprint';

export interface Message {
  role: string;
  content: string;
}

/** A text, or messages that a chat template makes into one. */
export type Turn = string | readonly Message[];

/** One example: a prompt with the response that was preferred and the one that was not; all texts, or all messages. */
export interface PreferencePair {
  prompt: Turn;
  chosen: Turn;
  rejected: Turn;
}

/** The digest of a pair's content. */
export function pairDigest({ prompt, chosen, rejected }: PreferencePair): Digest {
  return fingerprintOf({ prompt: plain(prompt), chosen: plain(chosen), rejected: plain(rejected) });
}

function plain(turn: Turn) {
  return typeof turn === 'string' ? turn : turn.map(({ role, content }) => ({ role, content }));
}
