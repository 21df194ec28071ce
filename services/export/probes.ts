import type { Message } from '@pairwise/preference';

/** A conversation that ends with a question, to see whether llama.cpp reads it as in training. */
export interface Probe {
  /** What its text is, for messages: the text itself never appears in them. */
  kind: string;
  messages: readonly Message[];
}

const texts: Record<string, string> = {
  code: 'def f(x):\n\tif x is None:\n        return {"a": [1, 2.5e-3], \'b\': x**2}  # why?\n\n\nprint(f(7), end="")\r\n',
  emoji: 'I ❤️ 🐻s and 👩‍👩‍👧‍👦 in 🇩🇪! 👍🏽',
  CJK: '天地玄黃，宇宙洪荒。日本語のテキスト、한국어 문장.',
  spaces: '  two first, then     many\n   \n\n  and two last  ',
  accents: 'Zwölf naïve café-goers; cafe\u0301, Съешь же ещё, ΑΒΓ, नमस्ते',
  digits: '0 1 12 123 1234 12345 3.14159 1,000,000 ½ ٣',
};

/** Short prompts whose answers stand on an artifact: fixed ones, because texts of pairs are never shown. */
export const samplePrompts = [
  'What is the capital of France?',
  'Explain why the sky is blue.',
  'Write a short poem about the sea.',
  'Once upon a time, there was a little girl who',
];

const user = (content: string): Message => ({ role: 'user', content });
const assistant = (content: string): Message => ({ role: 'assistant', content });

/**
 * Conversations with code, emoji, Chinese, Japanese and Korean, runs of spaces, accents, digits and the given added tokens,
 * one of several turns, and one after a system message.
 */
export function probes(addedTokens: readonly string[]): Probe[] {
  const kinds = Object.entries({
    ...texts,
    'added tokens': addedTokens.map((token) => `a ${token} b${token}`).join('\n'),
  });
  const turns = [user(texts['code']!), assistant(texts['emoji']!), user(texts['spaces']!), assistant('So.'), user('?')];
  return [
    ...kinds.filter(([, text]) => text !== '').map(([kind, text]) => ({ kind, messages: [user(text)] })),
    { kind: 'several turns', messages: turns },
    { kind: 'system message', messages: [{ role: 'system', content: 'Answer in  one word.\n' }, user('How?')] },
  ];
}
