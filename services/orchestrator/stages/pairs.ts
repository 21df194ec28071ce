import { ChatTemplateMode, RunPairs, TruncationMode, type Encoding, type Model } from '@pairwise/api';
import { refusalsText } from '@pairwise/preference';
import type { NewEvent } from '../runLog.ts';

/** A version that was encoded for a run. */
export interface EncodedSet {
  use: 'training' | 'evaluation';
  encoding: Encoding;
  pairs: RunPairs;
}

/** A version that was encoded for a run's model, with what became of its pairs. */
export function encodedSet(use: EncodedSet['use'], encoding: Encoding, model: Model): EncodedSet {
  const { pairCount, conversationCount, report } = encoding;
  const pairs = RunPairs.create({
    encodedCount: pairCount,
    conversationCount,
    leftOutCount: report?.refusedCount ?? 0,
    leftOut: report?.refused ?? [],
    remedy: remedyFor(encoding, model),
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

/** How to keep pairs that are too long, if more than 1 % of all are. */
function remedyFor({ pairCount, report, maxLength, truncationMode }: Encoding, model: Model): string {
  const countOf = (reason: string) => report?.refused.find((each) => each.reason === reason)?.count ?? 0;
  const longPrompts = countOf('PROMPT_TOO_LONG');
  const tooLong = countOf('TOO_LONG') + longPrompts;
  if (tooLong * 100 <= pairCount + (report?.refusedCount ?? 0)) return '';
  const remedies: string[] = [];
  if (maxLength < model.maxLength) {
    remedies.push(`raise training.max_length (now ${maxLength}; the model supports ${model.maxLength})`);
  }
  if (longPrompts > 0 && truncationMode !== TruncationMode.KEEP_END) {
    remedies.push('set training.truncation_mode to KEEP_END, which cuts the beginning of prompts');
  } else if (truncationMode === TruncationMode.REFUSE) {
    remedies.push('set training.truncation_mode to KEEP_START, which cuts the end of responses');
  }
  if (remedies.length === 0) remedies.push(`shorten them: the model supports ${model.maxLength} tokens`);
  return `To keep the pairs that are too long, ${remedies.join(', or ')}.`;
}

function leftOut({ use, pairs }: EncodedSet): NewEvent {
  const { encodedCount, leftOutCount, leftOut: refused, remedy } = pairs;
  const verb = leftOutCount === 1 ? 'is' : 'are';
  const total = encodedCount + leftOutCount;
  const text = `${leftOutCount} of ${total} ${use} pairs ${verb} left out: ${refusalsText(refused)}.`;
  return { type: 'pairs.left_out', stage: 'validate', message: `${text} ${remedy}`.trimEnd(), warning: true };
}

/** A caller who asks for plain texts is told, but not warned. */
function plainTexts({ use, encoding }: EncodedSet): NewEvent {
  const asked = encoding.chatTemplate === ChatTemplateMode.NONE;
  const because = asked ? 'chat_template is NONE' : 'their prompts are transcripts or contain special tokens';
  const message =
    `${textCount(encoding)} of ${encoding.pairCount} ${use} pairs stay plain texts because ${because}. ` +
    'In a chat the model sees the turns of its chat template; prompts that do not spell these out train it on another ' +
    `form. With chat_template: ${asked ? 'AUTO' : 'APPLY'} they become conversations.`;
  return { type: 'pairs.plain_texts', stage: 'validate', message, warning: !asked };
}

function summary({ use, encoding }: EncodedSet): string {
  const { pairCount, conversationCount, tokenCount, longestLength, hasChatTemplate } = encoding;
  const conversations = hasChatTemplate
    ? ` (${conversationCount} conversations, ${textCount(encoding)} plain texts)`
    : '';
  return `${pairCount} ${use} pairs${conversations} with ${tokenCount} tokens, the longest with ${longestLength}.`;
}
