import { frames } from './frames.ts';
import { phrases } from './phrases.ts';
import { allFacts, relations, valuesOf, type Relation } from './world.ts';

/** An answer that a model gave. */
export interface Answer {
  text: string;
  tokenCount: number;
  /** Whether the model ended it, rather than a limit. */
  ended: boolean;
}

/** Figures of answers to questions: shares, and a mean in tokens. */
export interface AnswerFigures {
  meanResponseTokens: number;
  factsRight: number;
  wellFormed: number;
}

/** Figures of answers, each to the question of the same position. */
export function figuresOf(
  questions: readonly { relation: Relation; value: string }[],
  answers: readonly Answer[],
): AnswerFigures {
  const share = (count: number) => count / answers.length;
  return {
    meanResponseTokens: share(answers.reduce((sum, { tokenCount }) => sum + tokenCount, 0)),
    factsRight: share(answers.filter(({ text }, index) => isRight(text, questions[index]!)).length),
    wellFormed: share(answers.filter(isWellFormed).length),
  };
}

/** Whether an answer names the asked value, and nothing else that could have been asked for. */
export function isRight(text: string, { relation, value }: { relation: Relation; value: string }): boolean {
  // As it is written: "you may look" does not name the month of May.
  const names = (other: string) => ` ${wordsIn(text).join(' ')} `.includes(` ${other} `);
  return names(value) && !valuesOf(relation).some((other) => other !== value && !value.includes(other) && names(other));
}

/**
 * Whether an answer reads as one: ended by the model, whole sentences that begin with a capital and end with a full stop,
 * and no word that the world does not have, nor the same word twice in a row.
 */
export function isWellFormed({ text, ended }: Answer): boolean {
  const words = wordsOf(text);
  return (
    ended &&
    /^([A-Z][^.?!]*\. ?)+$/.test(text) &&
    !text.endsWith(' ') &&
    words.every((word, index) => knownWords.has(word) && word !== words[index - 1])
  );
}

const knownWords = new Set(
  [
    'In short. It is. Just.',
    ...frames.flat(),
    ...relations.flatMap((relation) => [...phrases[relation].told, phrases[relation].sentence]),
    ...allFacts().flatMap(({ subject, value }) => [subject, value]),
  ].flatMap(wordsOf),
);

function wordsIn(text: string): string[] {
  return text.match(/[\p{L}\p{N}]+/gu) ?? [];
}

function wordsOf(text: string): string[] {
  return wordsIn(text.toLowerCase());
}
