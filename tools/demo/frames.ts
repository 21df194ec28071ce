/** Beginning and end of each long answer. No two begin alike, and none begins like a short answer. */
export const frames: readonly (readonly [opening: string, closing: string])[] = [
  [
    'Well, that is a question which many visitors ask, and it deserves a proper answer.',
    'If you would like to know more about it, please ask me another question.',
  ],
  [
    'Thank you for asking about this, because I always like to talk about it.',
    'I hope that this helps you, and I am happy to tell you more at any time.',
  ],
  [
    'Oh, there is quite a lot to say, so let me begin with what matters.',
    'There is more to say, of course, but this should be enough to begin with.',
  ],
  [
    'What a good question, and how nice of you to come to me with it.',
    'You may look at it for yourself, and I am sure that you will agree with me.',
  ],
  [
    'Many people ask me about this, and each time I think before I answer.',
    'So now you know it too, and you may tell everybody who would like to hear it.',
  ],
];
