import { ChatTemplateMode, TruncationMode } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';

/** How pairs that are too long are treated: as the caller says, by default refused. */
export function resolveTruncationMode(mode: TruncationMode | undefined): TruncationMode {
  return mode === undefined || mode === TruncationMode.UNSPECIFIED ? TruncationMode.REFUSE : mode;
}

/** Whether pairs of texts become conversations: as the caller says, by default AUTO. */
export function resolveChatTemplate(mode: ChatTemplateMode): ChatTemplateMode {
  return mode === ChatTemplateMode.UNSPECIFIED ? ChatTemplateMode.AUTO : mode;
}

/**
 * The day that a chat template sees as today, as YYYY-MM-DD: as the caller says, by default that of Llama 3's own
 * templates. Throws INVALID_ARGUMENT for what is not a day.
 */
export function resolveChatTemplateDate(date: string, field: string): string {
  if (date === '') return '2024-07-26';
  const day = /^[1-9]\d{3}-\d\d-\d\d$/.test(date) ? new Date(`${date}T00:00:00Z`) : undefined;
  // JavaScript takes the 31st of February for the second of March.
  if (day && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(date)) return date;
  throw new PairwiseError('INVALID_ARGUMENT', `${field} is '${date}'; it must be a day, as in 2024-07-26`, { field });
}
