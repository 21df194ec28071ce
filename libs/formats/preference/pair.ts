import { canonicalJson, digestOf, type Digest } from '@pairwise/fingerprint';

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

/** A pair as canonical JSON: one line, the same for the same content. `pairOfRow` reads it again. */
export function pairJson({ prompt, chosen, rejected }: PreferencePair): string {
  return canonicalJson({ prompt: plain(prompt), chosen: plain(chosen), rejected: plain(rejected) });
}

/** The digest of a pair's content: sha256 of its canonical JSON. */
export function pairDigest(pair: PreferencePair): Digest {
  return digestOf(Buffer.from(pairJson(pair)));
}

function plain(turn: Turn) {
  return typeof turn === 'string' ? turn : turn.map(({ role, content }) => ({ role, content }));
}
