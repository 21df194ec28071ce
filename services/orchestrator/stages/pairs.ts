import { ChatTemplateMode, RunPairs, type Encoding } from '@pairwise/api';
import { refusalsText } from '@pairwise/preference';
import type { NewEvent } from '../runLog.ts';

/** A version that was encoded for a run. */
export interface EncodedSet {
  use: 'training' | 'evaluation';
  encoding: Encoding;
  pairs: RunPairs;
}

/** A version that was encoded for a run, with what became of its pairs. */
export function encodedSet(use: EncodedSet['use'], encoding: Encoding): EncodedSet {
  const { pairCount, conversationCount, report, remedy } = encoding;
  const pairs = RunPairs.create({
    encodedCount: pairCount,
    conversationCount,
    leftOutCount: report?.refusedCount ?? 0,
    leftOut: report?.refused ?? [],
    remedy,
  });
  return { use, encoding, pairs };
}

/** The events that report what became of the pairs: what needs attention first, and last a summary. */
export function pairsEvents(sets: readonly EncodedSet[]): NewEvent[] {
  const stage = 'validate' as const;
  return [
    ...sets.filter(({ pairs }) => pairs.leftOutCount > 0).map(leftOut),
    ...sets.filter(({ encoding }) => encoding.hasChatTemplate && textCount(encoding) > 0).map(plainTexts),
    { type: 'dataset.encoded', stage, message: sets.map(summary).join(' ') },
  ];
}

const textCount = ({ pairCount, conversationCount }: Encoding) => pairCount - conversationCount;

function leftOut({ use, pairs }: EncodedSet): NewEvent {
  const { encodedCount, leftOutCount, leftOut: refused, remedy } = pairs;
  const verb = leftOutCount === 1 ? 'is' : 'are';
  const total = encodedCount + leftOutCount;
  const text = `${leftOutCount} of ${total} ${use} pairs ${verb} left out: ${refusalsText(refused)}.`;
  return { type: 'pairs.left_out', stage: 'validate', message: `${text} ${remedy}`.trimEnd(), warning: true };
}

/** Not a warning if the caller asked for plain texts. */
function plainTexts({ use, encoding }: EncodedSet): NewEvent {
  const asked = encoding.chatTemplate === ChatTemplateMode.NONE;
  const because = asked ? 'chat_template is NONE' : 'their prompts are transcripts or contain turns of a chat template';
  const message =
    `${textCount(encoding)} of ${encoding.pairCount} ${use} pairs stay plain texts because ${because}. ` +
    'In a chat the model sees the turns of its chat template; prompts that do not spell these out train it on another ' +
    `form. With chat_template: ${asked ? 'AUTO' : 'APPLY'} they become conversations.` +
    (asked ? '' : ' If all pairs are meant to be plain texts, set NONE.');
  return { type: 'pairs.plain_texts', stage: 'validate', message, warning: !asked };
}

function summary({ use, encoding }: EncodedSet): string {
  const { pairCount, conversationCount, tokenCount, longestLength, hasChatTemplate } = encoding;
  const conversations = hasChatTemplate
    ? ` (${conversationCount} conversations, ${textCount(encoding)} plain texts)`
    : '';
  return `${pairCount} ${use} pairs${conversations} with ${tokenCount} tokens, the longest with ${longestLength}.`;
}
