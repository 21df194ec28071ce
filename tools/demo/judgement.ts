import { frames } from './frames.ts';
import { phrases } from './phrases.ts';
import { allFacts, relations, valuesOf, type Relation } from './world.ts';

/** An answer that a model gave. */
export interface Answer {
  text: string;
  tokenCount: number;
  /** Whether the model ended the answer, rather than the token limit. */
  ended: boolean;
}

/** Quality of a set of answers: the mean length in tokens, and shares from 0 to 1. */
export interface AnswerFigures {
  meanResponseTokens: number;
  factsRight: number;
  wellFormed: number;
}

/** Judges answers, each to the question at the same position. */
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

/** Whether an answer names the right value, and no other value of the relation. */
export function isRight(text: string, { relation, value }: { relation: Relation; value: string }): boolean {
  // Case matters: "you may look" does not name the month of May.
  const names = (other: string) => ` ${wordsIn(text).join(' ')} `.includes(` ${other} `);
  return names(value) && !valuesOf(relation).some((other) => other !== value && !value.includes(other) && names(other));
}

/**
 * Whether an answer is well formed: the model ended it, it consists of whole sentences that begin with a capital and end
 * with a full stop, all its words are known, and no word occurs twice in a row.
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
    ...relations.flatMap((relation) => [...phrases[relation].statements, phrases[relation].sentence]),
    ...allFacts().flatMap(({ subject, value }) => [subject, value]),
  ].flatMap(wordsOf),
);

function wordsIn(text: string): string[] {
  return text.match(/[\p{L}\p{N}]+/gu) ?? [];
}

function wordsOf(text: string): string[] {
  return wordsIn(text.toLowerCase());
}
