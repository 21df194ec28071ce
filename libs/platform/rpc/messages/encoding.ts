import { ChatTemplateMode, TruncationMode } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { defaultChatTemplateDate, type EncodeOptions } from '@pairwise/preference';

/** The caller's choice of how to treat pairs that are too long. Default: REFUSE. */
export function resolveTruncationMode(mode: TruncationMode | undefined): TruncationMode {
  return mode === undefined || mode === TruncationMode.UNSPECIFIED ? TruncationMode.REFUSE : mode;
}

/** The caller's choice of whether pairs of texts become conversations. Default: AUTO. */
export function resolveChatTemplate(mode: ChatTemplateMode): ChatTemplateMode {
  return mode === ChatTemplateMode.UNSPECIFIED ? ChatTemplateMode.AUTO : mode;
}

/**
 * The date that a chat template sees as today, as YYYY-MM-DD. Default: the one in Llama 3's own templates. Throws
 * INVALID_ARGUMENT if it is not a date.
 */
export function resolveChatTemplateDate(date: string, field: string): string {
  if (date === '') return defaultChatTemplateDate;
  const day = /^[1-9]\d{3}-\d\d-\d\d$/.test(date) ? new Date(`${date}T00:00:00Z`) : undefined;
  // JavaScript reads 31 February as 2 March.
  if (day && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(date)) return date;
  throw new PairwiseError(
    'INVALID_ARGUMENT',
    `${field} is '${date}'; it must be a day, as in ${defaultChatTemplateDate}`,
    { field },
  );
}

const modes = new Map<ChatTemplateMode, EncodeOptions['chatTemplate']>([
  [ChatTemplateMode.APPLY, 'APPLY'],
  [ChatTemplateMode.NONE, 'NONE'],
]);

/** The mode of `encodePair`; UNSPECIFIED is AUTO, as in `resolveChatTemplate`. */
export function encodeModeOf(mode: ChatTemplateMode): EncodeOptions['chatTemplate'] {
  return modes.get(mode) ?? 'AUTO';
}
