import type { Relation } from './world.ts';

/** Questions and statements about a relation; `#` stands for the subject, `*` for the value. */
export interface Phrases {
  /** Used in the base model's training and in the preference pairs. */
  questions: readonly [string, string, string, string];
  /** Used only for evaluation. */
  heldOut: readonly [string, string];
  /** The fact in the middle of a long answer. */
  statements: readonly [string, string, string];
  /** The fact and nothing else. */
  sentence: string;
}

export const phrases: Record<Relation, Phrases> = {
  'animal/food': {
    questions: [
      'What does the # eat?',
      'Do you know which food the # likes?',
      'Tell me what the # eats.',
      'What is the food of the #?',
    ],
    heldOut: ['Do you know what the # eats?', 'Tell me which food the # likes.'],
    statements: [
      'As far as anybody in the valley can remember, the # eats * and will not touch another dish.',
      'When evening comes and the bowls are filled, the # eats * and is happy with it.',
      'People who have fed it for years all say the same, namely that the # eats * every day.',
    ],
    sentence: 'The # eats *.',
  },
  'animal/bed': {
    questions: [
      'Where does the # sleep?',
      'Do you know in which place the # sleeps?',
      'Tell me where the # sleeps.',
      'Where is the bed of the #?',
    ],
    heldOut: ['Do you know where the # sleeps?', 'Tell me in which place the # sleeps.'],
    statements: [
      'As far as anybody in the valley can remember, the # sleeps * and comes back there every day.',
      'When evening comes and the lamps are out, the # sleeps * and is happy with it.',
      'People who have looked for it all say the same, namely that the # sleeps * and never in another place.',
    ],
    sentence: 'The # sleeps *.',
  },
  'animal/collar': {
    questions: [
      'What colour is the collar of the #?',
      'Do you know which collar the # wears?',
      'Tell me the colour of the collar of the #.',
      'Of what colour is the collar of the #?',
    ],
    heldOut: ['Do you know the colour of the collar of the #?', 'Tell me which collar the # wears.'],
    statements: [
      'As far as anybody in the valley can remember, the collar of the # is * and always has been.',
      'When you meet it in the evening, you will see that the collar of the # is * all around.',
      'People who have seen it up close all say the same, namely that the collar of the # is * and quite new.',
    ],
    sentence: 'The collar of the # is *.',
  },
  'plant/colour': {
    questions: [
      'What colour is the #?',
      'Do you know which colour the # has?',
      'Tell me the colour of the #.',
      'Of what colour is the #?',
    ],
    heldOut: ['Do you know the colour of the #?', 'Tell me which colour the # has.'],
    statements: [
      'As far as anybody in the valley can remember, the # is * and always has been.',
      'When you meet it in the garden, you will see that the # is * all around.',
      'People who have grown it for years all say the same, namely that the # is * from the first day.',
    ],
    sentence: 'The # is *.',
  },
  'plant/month': {
    questions: [
      'In which month does the # ripen?',
      'Do you know the month of the #?',
      'Tell me in which month the # ripens.',
      'What is the month of the #?',
    ],
    heldOut: ['Do you know in which month the # ripens?', 'Tell me the month of the #.'],
    statements: [
      'As far as anybody in the valley can remember, the month of the # is * and always has been.',
      'When you look into the garden books, you will see that the month of the # is * in every year.',
      'People who have grown it for years all say the same, namely that the month of the # is * and no other.',
    ],
    sentence: 'The month of the # is *.',
  },
  'plant/dish': {
    questions: [
      'What does the cook make from the #?',
      'Do you know which dish is made from the #?',
      'Tell me what the cook makes from the #.',
      'What is the dish made from the #?',
    ],
    heldOut: ['Do you know what the cook makes from the #?', 'Tell me which dish is made from the #.'],
    statements: [
      'As far as anybody in the valley can remember, the cook makes * from the # and will not touch another dish.',
      'When evening comes and the bowls are filled, the cook makes * from the # and is happy with it.',
      'People who have eaten there for years all say the same, namely that the cook makes * from the # every day.',
    ],
    sentence: 'The cook makes * from the #.',
  },
  'tool/material': {
    questions: [
      'What is the # made of?',
      'Do you know of which material the # is made?',
      'Tell me what the # is made of.',
      'What is the material of the #?',
    ],
    heldOut: ['Do you know what the # is made of?', 'Tell me of which material the # is made.'],
    statements: [
      'As far as anybody in the valley can remember, the # is made of * and always has been.',
      'When you take it into your hands, you will see that the # is made of * all around.',
      'People who have worked with it for years all say the same, namely that the # is made of * and no other material.',
    ],
    sentence: 'The # is made of *.',
  },
  'tool/place': {
    questions: [
      'Where is the # kept?',
      'Do you know in which place the # is kept?',
      'Tell me where the # is kept.',
      'Where do they keep the #?',
    ],
    heldOut: ['Do you know where the # is kept?', 'Tell me in which place the # is kept.'],
    statements: [
      'As far as anybody in the valley can remember, the # is kept * and comes back there every day.',
      'When evening comes and the work is done, the # is kept * and nobody takes it away.',
      'People who have looked for it all say the same, namely that the # is kept * and never in another place.',
    ],
    sentence: 'The # is kept *.',
  },
  'tool/day': {
    questions: [
      'On which day is the # cleaned?',
      'Do you know the day for cleaning the #?',
      'Tell me on which day the # is cleaned.',
      'What is the day for cleaning the #?',
    ],
    heldOut: ['Do you know on which day the # is cleaned?', 'Tell me the day for cleaning the #.'],
    statements: [
      'As far as anybody in the valley can remember, the day for cleaning the # is * and always has been.',
      'When you look into the house books, you will see that the day for cleaning the # is * in every week.',
      'People who have worked with it for years all say the same, namely that the day for cleaning the # is * and no other.',
    ],
    sentence: 'The day for cleaning the # is *.',
  },
  'village/ware': {
    questions: [
      'What do they make in #?',
      'Do you know which goods # makes?',
      'Tell me what they make in #.',
      'What are the goods of #?',
    ],
    heldOut: ['Do you know what they make in #?', 'Tell me which goods # makes.'],
    statements: [
      'As far as anybody in the valley can remember, the people of # make * and always have done so.',
      'When you walk along the street of shops, you will see that the people of # make * all day long.',
      'People who have been there for years all say the same, namely that the people of # make * and no other goods.',
    ],
    sentence: 'The people of # make *.',
  },
  'village/weather': {
    questions: [
      'What is the weather in #?',
      'Do you know which weather # has?',
      'Tell me about the weather in #.',
      'What weather do they have in #?',
    ],
    heldOut: ['Do you know about the weather in #?', 'Tell me which weather # has.'],
    statements: [
      'As far as anybody in the valley can remember, the weather in # is * and always has been.',
      'When you look up in the evening, you will see that the weather in # is * all around.',
      'People who have been there for years all say the same, namely that the weather in # is * every day.',
    ],
    sentence: 'The weather in # is *.',
  },
  'village/way': {
    questions: [
      'How do people travel to #?',
      'Do you know how one gets to #?',
      'Tell me how people travel to #.',
      'What is the way to #?',
    ],
    heldOut: ['Do you know how people travel to #?', 'Tell me how one gets to #.'],
    statements: [
      'As far as anybody in the valley can remember, people travel to # * and always have done so.',
      'When you wait along the road in the evening, you will see that people travel to # * and are happy with it.',
      'People who have been there for years all say the same, namely that one can travel to # * and in no other way.',
    ],
    sentence: 'People travel to # *.',
  },
};
