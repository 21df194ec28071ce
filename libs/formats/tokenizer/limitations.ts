import { PairwiseError, shown } from '@pairwise/errors';
import { chatFormatOf, ggufTokenizer } from '@pairwise/gguf';
import { RowError, type Message } from '@pairwise/preference';
import type { Engine } from './engine.ts';
import type { Limitations } from './requests.ts';

/** Finds the limitations of a model. `tokenizerJson` is the text of its tokenizer.json. */
export async function limitationsOf(engine: Engine, tokenizerJson: string): Promise<Limitations> {
  const chat = engine.rendersChats ? chatWarnings(engine) : [];
  // What the template renders, it renders before the first wait: until then its time is counted (see limits.ts).
  await Promise.resolve();
  const rows = engine.vocabularySize;
  if (rows === undefined) return { warnings: chat, ggufObstacle: undefined };
  const gguf = ggufLimits(engine, tokenizerJson, rows);
  return { ...gguf, warnings: [...tokensPast(engine, rows), ...chat, ...gguf.warnings] };
}

/** Tokens whose ids are past the rows of the embedding. */
function tokensPast({ tokenIds }: Engine, rows: number): string[] {
  const ids = Object.entries(tokenIds());
  const past = ids.filter(([, id]) => id >= rows).sort(([, a], [, b]) => a - b);
  if (past.length === 0) return [];
  const [first, more] = [past.slice(0, 3), past.length - 3];
  const names = first.map(([text, id]) => `${shown(text)} (${id})`).join(', ') + (more > 0 ? ` and ${more} more` : '');
  return [`The embedding has ${rows} rows, too few for these tokens: ${names}. Pairs that need them are left out.`];
}

function chatWarnings(engine: Engine): string[] {
  const problems = conversationProblems(engine);
  const format = chatFormatOf((messages, { addGenerationPrompt }) => engine.render(messages, addGenerationPrompt));
  return format === undefined ? [...problems, noOllamaTemplate] : problems;
}

const noOllamaTemplate =
  "The chat template has no form in Ollama's template language. GGUF files come without a TEMPLATE for Ollama.";

const system: Message = { role: 'system', content: 'a' };
const user: Message = { role: 'user', content: 'a' };
const assistant: Message = { role: 'assistant', content: 'a' };

/** Why no pair can become a conversation, or only some can. */
function conversationProblems(engine: Engine): string[] {
  const alone = problemWith(engine, [user]);
  if (alone === undefined) return [];
  const withSystem = problemWith(engine, [system, user]);
  if (withSystem === undefined) {
    return [`Only pairs with a system message can become conversations. Without one, ${alone}.`];
  }
  return [`No pair can become a conversation: ${withSystem}.`];
}

function problemWith(engine: Engine, prompt: Message[]): string | undefined {
  try {
    engine.renderResponse(prompt, [assistant]);
    return undefined;
  } catch (error) {
    if (error instanceof RowError) return error.message;
    throw error;
  }
}

function ggufLimits({ special, chatTemplate }: Engine, tokenizerJson: string, vocabSize: number): Limitations {
  try {
    const { caveats } = ggufTokenizer({
      tokenizer: JSON.parse(tokenizerJson),
      special: { ...special, addsBos: special.bosBeginsTexts },
      chatTemplate,
      vocabSize,
    });
    return { warnings: caveats.map((caveat) => `GGUF: ${caveat}.`), ggufObstacle: undefined };
  } catch (error) {
    if (!(error instanceof PairwiseError)) throw error;
    const { reason, message } = error;
    return { warnings: [], ggufObstacle: { reason, message } };
  }
}
