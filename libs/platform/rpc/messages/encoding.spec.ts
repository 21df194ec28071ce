import { ChatTemplateMode, TruncationMode } from '@pairwise/api';
import { expect, test } from 'vitest';
import { encodeModeOf, resolveChatTemplate, resolveChatTemplateDate, resolveTruncationMode } from './encoding.ts';

test('pairs that are too long are refused unless the caller says otherwise', () => {
  expect(resolveTruncationMode(undefined)).toBe(TruncationMode.REFUSE);
  expect(resolveTruncationMode(TruncationMode.UNSPECIFIED)).toBe(TruncationMode.REFUSE);
  expect(resolveTruncationMode(TruncationMode.KEEP_END)).toBe(TruncationMode.KEEP_END);
});

test('whether the chat template applies depends on the pair unless the caller says otherwise', () => {
  expect(resolveChatTemplate(ChatTemplateMode.UNSPECIFIED)).toBe(ChatTemplateMode.AUTO);
  expect(resolveChatTemplate(ChatTemplateMode.NONE)).toBe(ChatTemplateMode.NONE);
  const modes = [ChatTemplateMode.UNSPECIFIED, ChatTemplateMode.AUTO, ChatTemplateMode.APPLY, ChatTemplateMode.NONE];
  expect(modes.map(encodeModeOf)).toEqual(['AUTO', 'AUTO', 'APPLY', 'NONE']);
});

test.each(['2026-02-31', '2026-1-1', 'today', '02026-01-01', '2026-01-01T00:00:00Z'])('%s is not a day', (date) => {
  const refused = expect.objectContaining({ reason: 'INVALID_ARGUMENT', field: 'spec.chat_template_date' }) as Error;
  expect(() => resolveChatTemplateDate(date, 'spec.chat_template_date')).toThrow(refused);
});

test('the default day of a chat template is fixed', () => {
  expect(resolveChatTemplateDate('', 'chat_template_date')).toBe('2024-07-26');
  expect(resolveChatTemplateDate('2024-02-29', 'chat_template_date')).toBe('2024-02-29');
});
