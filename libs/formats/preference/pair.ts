import { canonicalJson, digestOf, type Digest } from '@pairwise/fingerprint';

export interface Message {
  role: string;
  content: string;
}

/** A text, or messages that a chat template turns into one. */
export type Turn = string | readonly Message[];

/**
 * One example: a prompt with the preferred response and the other one. All three are texts, or all are lists of
 * messages.
 */
export interface PreferencePair {
  prompt: Turn;
  chosen: Turn;
  rejected: Turn;
}

/** Returns a pair as canonical JSON: one line, the same for the same content. `pairOfRow` parses it. */
export function pairJson({ prompt, chosen, rejected }: PreferencePair): string {
  return canonicalJson({ prompt: plain(prompt), chosen: plain(chosen), rejected: plain(rejected) });
}

/** Returns the digest of a pair's content: the sha256 of its canonical JSON. */
export function pairDigest(pair: PreferencePair): Digest {
  return digestOf(Buffer.from(pairJson(pair)));
}

function plain(turn: Turn) {
  return typeof turn === 'string' ? turn : turn.map(({ role, content }) => ({ role, content }));
}
