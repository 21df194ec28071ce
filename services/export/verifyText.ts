import { isDeepStrictEqual } from 'node:util';
import type { Encoding } from '@pairwise/api';
import { ggufTokenizer, tokenType, type GgufHeader, type GgufTokenizer, type GgufType } from '@pairwise/gguf';
import type { Judge } from '@pairwise/llamacpp';
import type { SamplePrompt, ServedText } from './servedTexts.ts';
import type { Serving } from './serving.ts';
import { verificationFailed } from './verificationFailed.ts';

/** What a GGUF file must do with texts so that it does what was trained. */
export interface TextExpectation {
  serving: Serving;
  texts: readonly ServedText[];
  /** Prompts whose answers stand on the artifact. */
  samples: readonly SamplePrompt[];
  /** What was trained on. */
  encoding: Encoding;
}

/**
 * Compares a GGUF file with what was trained: the tokens at which llama.cpp stops, the ids that it makes of texts, and the
 * tokenizer with its chat template as they stand in the file. Returns caveats for texts that llama.cpp is known to read
 * differently. Throws VERIFICATION_FAILED for all other differences.
 */
export async function verifyText(
  judge: Judge,
  { metadata }: GgufHeader,
  type: GgufType,
  expectation: TextExpectation,
): Promise<string[]> {
  const { serving } = expectation;
  const { special } = serving.tokenizer;
  verifyStops(judge, metadata.get('tokenizer.ggml.token_type')?.value as readonly number[], type, special.stopIds);
  const model = ggufTokenizer({ ...serving.tokenizer, vocabSize: judge.vocabSize });
  const kinds = await verifyIds(judge, type, expectation, model);
  for (const [key, value] of model.metadata) {
    if (isDeepStrictEqual(metadata.get(key), value)) continue;
    throw verificationFailed(type, `has a ${key} that is not that of the model`, { key });
  }
  return caveatsOf(expectation, kinds, model.bosAdded);
}

/** What llama.cpp does differently, where `kinds` are those of the texts that it reads with other tokens. */
function caveatsOf(
  { serving, texts, encoding }: TextExpectation,
  kinds: readonly string[],
  bosAdded: string | undefined,
): string[] {
  const isChat = serving.chat !== 'plain text';
  const caveats: string[] = [];
  if (kinds.length > 0) {
    const which = [...new Set(kinds)].join(', ');
    caveats.push(
      `llama.cpp reads ${kinds.length} of ${texts.length} texts with other tokens than in training (${which})`,
    );
  }
  if (!isChat && texts.some(({ text }) => beginsWith(text, bosAdded))) {
    caveats.push(`llama.cpp puts ${bosAdded} before each prompt; leave out the one that prompts of the pairs have`);
  }
  const { pairCount, conversationCount } = encoding;
  if (isChat && conversationCount < pairCount) {
    const plain = `${pairCount - conversationCount} of ${pairCount} pairs`;
    caveats.push(`the file is made for conversations, but ${plain} were trained as plain texts`);
  }
  return caveats;
}

/** The kinds of the texts of which llama.cpp makes other ids, where it is known that it may. */
async function verifyIds(
  judge: Judge,
  type: GgufType,
  { serving, texts }: TextExpectation,
  { bosAdded, differences }: GgufTokenizer,
): Promise<string[]> {
  const { bosId } = serving.tokenizer.special;
  const kinds: string[] = [];
  for (const { kind, text, ids } of texts) {
    // As llama.cpp's server does with what a chat template wrote.
    const asked = beginsWith(text, bosAdded) ? text.slice(bosAdded!.length) : text;
    const exported = await judge.tokenize(asked, { addSpecial: true, parseSpecial: true });
    const position = firstDifference(exported, ids);
    if (position === undefined) continue;
    const [found, trained] = [exported[position], ids[position]];
    const isBos = bosId !== undefined && [found, trained].includes(bosId);
    if (isBos || differences.length === 0) throw otherIds(type, kind, { position, found, trained });
    kinds.push(kind);
  }
  return kinds;
}

function beginsWith(text: string, bos: string | undefined): boolean {
  return bos !== undefined && text.startsWith(bos);
}

function firstDifference(left: Int32Array, right: Int32Array): number | undefined {
  const length = Math.max(left.length, right.length);
  for (let index = 0; index < length; index++) if (left[index] !== right[index]) return index;
  return undefined;
}

function otherIds(
  type: GgufType,
  kind: string,
  { position, found, trained }: { position: number; found: number | undefined; trained: number | undefined },
) {
  const [inFile, inTraining] = [found, trained].map((id) => (id === undefined ? 'no token' : `token ${id}`));
  return verificationFailed(
    type,
    `reads text differently from training: of the kind '${kind}', position ${position} has ${inFile} in llama.cpp, but ${inTraining} in training`,
    { kind, position: String(position), exportedId: String(found ?? ''), trainedId: String(trained ?? '') },
  );
}

/** A GGUF file names this many tokens at which generation stops; the writer has a caveat for others. */
const namedStops = 3;

function verifyStops(judge: Judge, tokenTypes: readonly number[], type: GgufType, stopIds: readonly number[]): void {
  const named = stopIds.filter((id) => id < judge.vocabSize).slice(0, namedStops);
  const missed = named.find((id) => !judge.endIds.includes(id));
  if (missed !== undefined) {
    throw verificationFailed(type, `does not stop at token ${missed}, which ends a turn or a text`, {
      stopId: String(missed),
    });
  }
  // llama.cpp also stops at special tokens that it knows by their names; an answer does not contain them.
  const isText = (id: number) => tokenTypes[id] === tokenType.normal || tokenTypes[id] === tokenType.byte;
  const early = judge.endIds.find((id) => isText(id) && !stopIds.includes(id));
  if (early === undefined) return;
  throw verificationFailed(type, `stops at token ${early}, which is a part of texts`, { stopId: String(early) });
}
