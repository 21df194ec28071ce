import type { AddedToken } from './settings.ts';

/** A piece of a sequence: a special token, or the exact text of the ids between two, as decoded inside a text. */
export type Piece = { token: AddedToken } | { text: string };

const isSpace = (character: string | undefined) => character !== undefined && /\s/.test(character);

/**
 * Whether pieces stand for exactly this text. Allowed are only the additions and losses that a tokenizer makes by its
 * design: one space before the first word after the beginning or a special token where `addsPrefix`, and white space
 * that a special token swallows.
 */
export function matches(pieces: readonly Piece[], text: string, addsPrefix: boolean): boolean {
  let at = 0;
  const skipSpace = () => {
    while (isSpace(text[at])) at += 1;
  };
  for (const piece of pieces) {
    if ('token' in piece) {
      if (piece.token.lstrip) skipSpace();
      if (!text.startsWith(piece.token.content, at)) return false;
      at += piece.token.content.length;
      if (piece.token.rstrip) skipSpace();
    } else if (text.startsWith(piece.text, at)) {
      at += piece.text.length;
    } else {
      const withoutPrefix = piece.text.slice(1);
      if (!addsPrefix || !piece.text.startsWith(' ') || !text.startsWith(withoutPrefix, at)) return false;
      at += withoutPrefix.length;
    }
  }
  return at === text.length;
}
