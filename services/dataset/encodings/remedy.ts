import { TruncationMode, type Model } from '@pairwise/api';
import type { Report } from '@pairwise/preference';
import type { EncodingSettings } from './fingerprint.ts';

/** How to keep pairs that are too long, if more than 1 % of all are; otherwise empty. */
export function remedyFor(
  { acceptedCount, refusedCount, refused }: Pick<Report, 'acceptedCount' | 'refusedCount' | 'refused'>,
  { maxLength, truncationMode }: Pick<EncodingSettings, 'maxLength' | 'truncationMode'>,
  model: Pick<Model, 'maxLength'>,
): string {
  const countOf = (reason: string) => refused.find((each) => each.reason === reason)?.count ?? 0;
  const longPrompts = countOf('PROMPT_TOO_LONG');
  const tooLong = countOf('TOO_LONG') + longPrompts;
  if (tooLong * 100 <= acceptedCount + refusedCount) return '';
  const remedies: string[] = [];
  if (maxLength < model.maxLength) {
    remedies.push(`raise max_length (now ${maxLength}; the model supports ${model.maxLength})`);
  }
  if (longPrompts > 0 && truncationMode !== TruncationMode.KEEP_END) {
    remedies.push('set truncation_mode to KEEP_END, which cuts the beginning of prompts');
  } else if (truncationMode === TruncationMode.REFUSE) {
    remedies.push('set truncation_mode to KEEP_START, which cuts the end of responses');
  }
  if (remedies.length === 0) remedies.push(`shorten them: the model supports ${model.maxLength} tokens`);
  return `To keep the pairs that are too long, ${remedies.join(', or ')}.`;
}
