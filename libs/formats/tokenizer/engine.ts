import { PairwiseError } from '@pairwise/errors';
import { defaultChatTemplateDate, RowError, type PairTokenizer } from '@pairwise/preference';
import { Tokenizer as Vocabulary } from 'tokenizers';
import { matches, type Piece } from './match.ts';
import { readSettings, type Settings, type TokenizerFiles } from './settings.ts';
import { openRendering, type Rendering } from './rendering.ts';
import type { Opened } from './requests.ts';
import { aConversation, specialTokensOf, type Conversation } from './specialTokens.ts';
import { openTemplate } from './template.ts';

/**
 * A model's tokenizer with its chat template, as `encodePair` needs it. A hostile file can crash or block the process, so
 * only the child process opens one (see child.ts).
 */
export interface Engine extends PairTokenizer, Opened, Rendering {
  /** The text of ids, special tokens included. */
  decode(ids: Int32Array): Promise<string>;
  /** The ids of all tokens by their texts. */
  tokenIds(): Record<string, number>;
}

/**
 * Opens an engine from the texts of a model's files. Throws INVALID_MODEL for files that are broken, and
 * UNSUPPORTED_CONFIG for a chat template that cannot be parsed.
 */
export async function openEngine(files: TokenizerFiles, date = defaultChatTemplateDate): Promise<Engine> {
  const settings = readSettings(files);
  const chatTemplate = settings.chatTemplate === '' ? undefined : settings.chatTemplate;
  const template =
    chatTemplate === undefined ? undefined : openTemplate(chatTemplate, { specialTokens: settings.names, date });
  const conversation = template && aConversation(template);
  // The template must not render after this: only the time up to here counts against its limit (see limits.ts).
  await Promise.resolve();
  const vocabulary = readVocabulary(files.tokenizerJson);
  const exact = await exactText(vocabulary);
  const special = await specialTokensOf(vocabulary, settings, conversation);
  const { bosId, eosId, bosBeginsTexts } = special;
  const textOf = (id: number | undefined) => (id === undefined ? undefined : (vocabulary.idToToken(id) ?? undefined));
  const bos = textOf(bosId);
  const encodePlain = async (text: string) => {
    const encoded = await vocabulary.encode(text, null, { addSpecialTokens: false });
    return Int32Array.from(encoded.getIds());
  };
  // Grouped by first character, because some models have thousands.
  const specials = [...settings.addedTokens.values()].filter((token) => token.special);
  const markers = Map.groupBy(
    specials.map(({ content }) => content),
    (content) => content[0]!,
  );
  const answerMark = answerMarkOf(conversation);

  return {
    chatTemplate,
    special,
    rendersChats: template !== undefined,
    vocabularySize: settings.vocabularySize,
    spellsTurns: (prompt) => hasMarker(prompt, markers) || (answerMark !== '' && prompt.trimEnd().endsWith(answerMark)),
    ...openRendering(template, chatTemplate, textOf(eosId)),
    encode: async (text, isConversation) => {
      const ids = await encodePlain(text);
      const addsBos = bosBeginsTexts && !isConversation && bosId !== undefined && ids[0] !== bosId;
      return addsBos ? after(bosId, ids) : ids;
    },
    encodeContinuation: (text) => (settings.addsPrefix ? afterAnchor(encodePlain, exact, text) : encodePlain(text)),
    isText: async (ids, text) => {
      const added = ids[0] === bosId && bos !== undefined && !text.startsWith(bos);
      return matches(await piecesOf(settings, exact, added ? ids.subarray(1) : ids), text, settings.addsPrefix);
    },
    decode: (ids) => vocabulary.decode([...ids], false),
    tokenIds: () => vocabulary.getVocab(),
  };
}

/** The line on which the template begins an answer, such as `[/INST]`; empty if it writes no words there. */
function answerMarkOf(conversation: Conversation | undefined): string {
  const line = conversation?.beforeAnswer.trim().split('\n').at(-1) ?? '';
  return /\p{L}/u.test(line) ? line : '';
}

/** Whether a text contains one of the markers, which are grouped by their first characters. */
function hasMarker(text: string, markers: ReadonlyMap<string, readonly string[]>): boolean {
  for (let at = 0; at < text.length; at++) {
    if (markers.get(text[at]!)?.some((marker) => text.startsWith(marker, at))) return true;
  }
  return false;
}

/** Not `Int32Array.of(...)`: a long text has more ids than a call may have arguments. */
function after(first: number, ids: Int32Array): Int32Array {
  const whole = new Int32Array(ids.length + 1);
  whole[0] = first;
  whole.set(ids, 1);
  return whole;
}

function readVocabulary(tokenizerJson: string): Vocabulary {
  try {
    const vocabulary = Vocabulary.fromString(tokenizerJson);
    // `encodePair` applies the length limits.
    vocabulary.disableTruncation();
    vocabulary.disablePadding();
    return vocabulary;
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : 'it is not a tokenizer';
    throw new PairwiseError('INVALID_MODEL', `tokenizer.json is not understood: ${problem}`, {
      field: 'tokenizer.json',
      cause,
    });
  }
}

/**
 * Decodes ids as they read in the middle of a text, because decoders strip spaces at the start: they are decoded after an
 * anchor, which is then cut off.
 */
async function exactText(vocabulary: Vocabulary): Promise<(ids: readonly number[]) => Promise<string>> {
  const start = (await vocabulary.encode('a', null, { addSpecialTokens: false })).getIds();
  return async (ids) => {
    const [alone, whole] = await vocabulary.decodeBatch([start, [...start, ...ids]], false);
    return whole!.slice(alone!.length);
  };
}

async function piecesOf(
  { addedTokens }: Settings,
  exact: (ids: readonly number[]) => Promise<string>,
  ids: Int32Array,
): Promise<Piece[]> {
  const pieces: Piece[] = [];
  let run: number[] = [];
  const endRun = async () => {
    if (run.length > 0) pieces.push({ text: await exact(run) });
    run = [];
  };
  for (const id of ids) {
    const token = addedTokens.get(id);
    if (token === undefined) {
      run.push(id);
    } else {
      await endRun();
      pieces.push({ token });
    }
  }
  await endRun();
  return pieces;
}

/**
 * Ids of a text inside a sequence, for tokenizers that put a space before a beginning: what follows an anchor that no
 * token merges with. Throws RowError NOT_REVERSIBLE where there is none.
 */
async function afterAnchor(
  encode: (text: string) => Promise<Int32Array>,
  exact: (ids: readonly number[]) => Promise<string>,
  text: string,
): Promise<Int32Array> {
  for (const anchor of ['\n', '.', 'a', '0']) {
    const [start, whole] = [await encode(anchor), await encode(anchor + text)];
    const rest = whole.slice(start.length);
    const apart = start.every((id, index) => whole[index] === id);
    // Spaces are ignored: the tokenizer may add one after a special token.
    if (apart && (await exact([...rest])).replaceAll(' ', '') === text.replaceAll(' ', '')) return rest;
  }
  throw new RowError('NOT_REVERSIBLE', 'the tokenizer cannot encode the response apart from its prompt');
}
