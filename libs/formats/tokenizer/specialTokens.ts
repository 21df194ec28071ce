import { RowError } from '@pairwise/preference';
import type { Tokenizer as Vocabulary } from 'tokenizers';
import type { Settings } from './settings.ts';
import type { Render } from './template.ts';

/**
 * What begins and ends texts, conversations and turns. Encoding, GGUF files, Modelfiles and verification all follow these
 * rules, so that what is served is what was trained.
 */
export interface SpecialTokens {
  /** The BOS token; undefined if the model has none. */
  bosId: number | undefined;
  /** Whether the BOS is added to plain texts. Nothing is added to what a chat template writes. */
  bosBeginsTexts: boolean;
  /** Whether the chat template writes the BOS first; undefined without a template. */
  bosBeginsChats: boolean | undefined;
  /** Ends a plain text; undefined if the model has none. */
  eosId: number | undefined;
  /** Ends a turn: the first special token that the chat template writes after an answer, otherwise the EOS. */
  endOfTurnId: number | undefined;
  /** All ids that stop generation, the end of a turn first. */
  stopIds: number[];
  unknownId: number | undefined;
  paddingId: number | undefined;
}

/** Derives the rules from a model's files and what its chat template writes. */
export async function specialTokensOf(
  vocabulary: Vocabulary,
  settings: Settings,
  chat: Conversation | undefined,
): Promise<SpecialTokens> {
  const { names, addBos } = settings;
  const idOf = (name: string) =>
    (names[name] === undefined ? undefined : vocabulary.tokenToId(names[name])) ?? undefined;
  const processorBos = await firstByProcessor(vocabulary);
  const named = idOf('bos_token');
  const bosId = named ?? processorBos;
  const knownStops = settings.stopIds.filter((id) => vocabulary.idToToken(id) !== null);
  const eosId = idOf('eos_token') ?? knownStops[0];
  const written = chat === undefined ? undefined : await endOf(vocabulary, settings, chat.afterAnswer, knownStops);
  const endOfTurnId = written ?? eosId;
  return {
    bosId,
    bosBeginsTexts:
      bosId !== undefined && (addBos === true ? named !== undefined : addBos !== false && processorBos === bosId),
    bosBeginsChats: chat === undefined ? undefined : beginsWithBos(vocabulary, bosId, chat.begin),
    eosId,
    endOfTurnId,
    stopIds: [...new Set([endOfTurnId, eosId, ...knownStops].filter((id) => id !== undefined))],
    unknownId: idOf('unk_token'),
    paddingId: idOf('pad_token'),
  };
}

/** The token that the tokenizer's post-processor puts before a text. */
async function firstByProcessor(vocabulary: Vocabulary): Promise<number | undefined> {
  const whole = await vocabulary.encode('a');
  const plain = await vocabulary.encode('a', null, { addSpecialTokens: false });
  const [first] = whole.getIds();
  return whole.getLength() > plain.getLength() && first !== plain.getIds()[0] ? first : undefined;
}

/** What a chat template writes around the only answer of a conversation. */
export interface Conversation {
  begin: string;
  /** The end of `begin`, after the user's message. */
  beforeAnswer: string;
  afterAnswer: string;
}

const question = 'pairwise-question';
const answer = 'pairwise-answer';

/** Renders a short conversation, with a system message if the template needs one. Undefined if the template refuses both. */
export function aConversation(render: Render): Conversation | undefined {
  const turns = [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ];
  for (const messages of [turns, [{ role: 'system', content: 'a' }, ...turns]]) {
    try {
      const text = render(messages, false);
      const end = text.lastIndexOf(answer);
      const [begin, afterAnswer] = [text.slice(0, end), text.slice(end + answer.length)];
      if (end >= 0) return { begin, beforeAnswer: begin.split(question).at(-1)!, afterAnswer };
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
    }
  }
  return undefined;
}

async function endOf(
  vocabulary: Vocabulary,
  { addedTokens }: Settings,
  afterAnswer: string,
  stopIds: readonly number[],
): Promise<number | undefined> {
  const ids = (await vocabulary.encode(afterAnswer, null, { addSpecialTokens: false })).getIds();
  return ids.find((id) => stopIds.includes(id) || addedTokens.get(id)?.special === true);
}

function beginsWithBos(vocabulary: Vocabulary, bosId: number | undefined, begin: string): boolean {
  const bos = bosId === undefined ? null : vocabulary.idToToken(bosId);
  return bos !== null && begin.startsWith(bos);
}
