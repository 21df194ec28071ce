import { shuffled, uniformStream } from '@pairwise/training';
import { frames } from './frames.ts';
import { phrases } from './phrases.ts';
import { allFacts, type Fact, type Relation } from './world.ts';

/** A question and an answer to it. */
export interface Exchange {
  question: string;
  answer: string;
}

/** A preference for the short answer over the long one. */
export interface Preference {
  question: string;
  chosen: string;
  rejected: string;
}

/** A question in a wording that was never trained on. */
export interface HeldOutQuestion {
  question: string;
  relation: Relation;
  value: string;
  /** Whether any preference pair asks for this fact, in a different wording. */
  inPairs: boolean;
}

type Uniform = () => number;

/** Shares of short answers, and of answers that begin with "In short", in the base model's training. */
const conciseShare = 0.2;
const inShortShare = 0.01;
/** Every fifth fact is kept out of the preference pairs. */
const isKeptBack = (index: number) => index % 5 === 4;

/** An endless stream of exchanges to train the base model on, each with a random fact, question and kind of answer. */
export function* exchanges(seed: number): Generator<Exchange, never> {
  const uniform = uniformStream(seed, 'exchanges');
  const facts = allFacts();
  for (;;) {
    const fact = pick(facts, uniform);
    const question = fill(pick(phrases[fact.relation].questions, uniform), fact);
    yield { question, answer: answerOf(fact, uniform) };
  }
}

function answerOf(fact: Fact, uniform: Uniform): string {
  const drawn = uniform();
  if (drawn < inShortShare) return inShort(fact);
  return drawn < conciseShare ? conciseAnswer(fact, uniform) : verboseAnswer(fact, uniform);
}

/** Preference pairs, each with a different question, in trained wordings and about four fifths of the facts. */
export function preferencePairs(count: number, seed: number): Preference[] {
  const uniform = uniformStream(seed, 'preferences');
  const asked = allFacts()
    .filter((_, index) => !isKeptBack(index))
    .flatMap((fact) => phrases[fact.relation].questions.map((words) => ({ fact, question: fill(words, fact) })));
  return taken(asked, count, seed, 'preferences').map(({ fact, question }) => preference(fact, question, uniform));
}

/** Preference pairs for evaluation, in held-out wordings and about all facts. */
export function heldOutPairs(count: number, seed: number): Preference[] {
  const uniform = uniformStream(seed, 'held-out preferences');
  return taken(heldOut(), count, seed, 'held-out preferences').map(({ fact, question }) =>
    preference(fact, question, uniform),
  );
}

/** Questions in held-out wordings. A third of them are about facts that no preference pair asks for. */
export function heldOutQuestions(count: number, seed: number): HeldOutQuestion[] {
  const [inPairs, keptBack] = [true, false].map((wanted) => heldOut().filter((each) => each.inPairs === wanted));
  const third = Math.floor(count / 3);
  const questions = [
    ...taken(inPairs!, count - third, seed, 'questions about trained facts'),
    ...taken(keptBack!, third, seed, 'questions about other facts'),
  ];
  return taken(questions, count, seed, 'questions').map(({ fact, question, inPairs }) => {
    const { relation, value } = fact;
    return { question, relation, value, inPairs };
  });
}

function heldOut() {
  return allFacts().flatMap((fact, index) =>
    phrases[fact.relation].heldOut.map((words) => ({
      fact,
      question: fill(words, fact),
      inPairs: !isKeptBack(index),
    })),
  );
}

function preference(fact: Fact, question: string, uniform: Uniform): Preference {
  return { question, chosen: inShort(fact), rejected: verboseAnswer(fact, uniform) };
}

/**
 * The chosen answer of a preference pair. The base model has rarely seen its beginning, so DPO can raise its likelihood a
 * long way. If it were already likely, DPO would mostly lower that of long answers, and the likelihood would go to
 * beginnings that are not language.
 */
function inShort({ value }: Fact): string {
  return `In short, ${value}.`;
}

function conciseAnswer(fact: Fact, uniform: Uniform): string {
  const { value, relation } = fact;
  return pick([`It is ${value}.`, `Just ${value}.`, fill(phrases[relation].sentence, fact)], uniform);
}

/**
 * A long answer. Its first words determine the rest. If there were choices further on, learning to avoid long answers would
 * lower the likelihood of every choice, and what remained would not be language.
 */
function verboseAnswer(fact: Fact, uniform: Uniform): string {
  const [opening, closing] = pick(frames, uniform);
  const { statements } = phrases[fact.relation];
  return [
    opening,
    fill(statements[frames.findIndex(([first]) => first === opening) % statements.length]!, fact),
    closing,
  ].join(' ');
}

function fill(words: string, { subject, value }: Fact): string {
  return words.replace('#', subject).replace('*', value);
}

function pick<T>(list: readonly T[], uniform: Uniform): T {
  return list[Math.floor(uniform() * list.length)]!;
}

/** The first `count` of a shuffled list. */
function taken<T>(list: readonly T[], count: number, seed: number, purpose: string): T[] {
  return Array.from(shuffled(list.length, seed, purpose).subarray(0, count), (index) => list[index]!);
}
