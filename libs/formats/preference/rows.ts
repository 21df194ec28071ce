import type { Message, PreferencePair, Turn } from './pair.ts';

/** Why a row is not a usable pair. */
export const refusals = [
  'BROKEN_JSON',
  'ROW_TOO_LARGE',
  'INVALID_TEXT',
  'MISSING_FIELD',
  'UNKNOWN_FIELD',
  'WRONG_TYPE',
  'EMPTY_PROMPT',
  'EMPTY_RESPONSE',
  'IDENTICAL_RESPONSES',
  'PROMPTS_DIFFER',
  'TOO_LONG',
  'PROMPT_TOO_LONG',
  'NOT_REVERSIBLE',
  'UNKNOWN_TOKEN',
] as const;
export type Refusal = (typeof refusals)[number];

/** A refused row. The message names the field and never quotes the row. */
export class RowError extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal, problem: string) {
    super(problem);
    this.name = 'RowError';
    this.refusal = refusal;
  }
}

/** Begins an assistant turn in a dialogue of HH-RLHF. */
const assistantMarker = '\n\nAssistant:';

/**
 * Converts a parsed row to a pair. A row is `{prompt, chosen, rejected}` of texts or of message lists, or `{chosen,
 * rejected}` with whole dialogues, whose common beginning is the prompt: in texts up to and including the last
 * "\n\nAssistant:", in lists all but the last message. Throws RowError.
 */
export function pairOfRow(row: unknown): PreferencePair {
  if (typeof row !== 'object' || row === null || Array.isArray(row)) {
    throw new RowError('WRONG_TYPE', 'the row is not a JSON object');
  }
  const fields = row as Record<string, unknown>;
  refuseWrappedRows(fields);
  const chosen = turnOf(fields, 'chosen');
  const rejected = turnOf(fields, 'rejected');
  const pair =
    fields['prompt'] == null ? divide(chosen, rejected) : { prompt: turnOf(fields, 'prompt'), chosen, rejected };
  const kinds = new Set(Object.values(pair).map((turn: Turn) => typeof turn));
  if (kinds.size > 1)
    throw new RowError('WRONG_TYPE', 'prompt, chosen and rejected must all be texts or all be message lists');
  return checked(pair);
}

/** Refuses a file that is one object with the rows in one of its fields. */
function refuseWrappedRows(fields: Record<string, unknown>): void {
  if (fields['chosen'] !== undefined || fields['rejected'] !== undefined) return;
  const isRow = (value: unknown) => typeof value === 'object' && value !== null && 'chosen' in value;
  const [name] = Object.entries(fields).find(([, list]) => Array.isArray(list) && list.some(isRow)) ?? [];
  if (name === undefined) return;
  const remedy = 'write that list alone, or one row per line';
  throw new RowError('WRONG_TYPE', `the rows are in a list '${name.slice(0, 60)}' of an object; ${remedy}`);
}

function turnOf(fields: Record<string, unknown>, name: string): Turn {
  const value = fields[name];
  if (value === undefined || value === null) throw new RowError('MISSING_FIELD', `${name} is missing`);
  if (typeof value === 'string') return textOf(value, name);
  if (!Array.isArray(value)) throw new RowError('WRONG_TYPE', `${name} is neither a text nor a list of messages`);
  return value.map((message, index) => messageOf(message, `${name}[${index}]`));
}

function messageOf(value: unknown, path: string): Message {
  if (typeof value !== 'object' || value === null) throw new RowError('WRONG_TYPE', `${path} is not a message`);
  const { role, content, ...others } = value as Record<string, unknown>;
  for (const [name, text] of Object.entries({ role, content })) {
    if (text === undefined) throw new RowError('MISSING_FIELD', `${path}.${name} is missing`);
    if (typeof text !== 'string') throw new RowError('WRONG_TYPE', `${path}.${name} is not a string`);
  }
  // Otherwise tool calls, images and the like would be silently lost.
  const [other] = Object.keys(others).filter((name) => !isNothing(others[name]));
  if (other !== undefined) throw new RowError('UNKNOWN_FIELD', `${path} has a field besides role and content`);
  return { role: textOf(role as string, `${path}.role`), content: textOf(content as string, `${path}.content`) };
}

/** Whether a value is what exporters write to columns that a message does not use. */
function isNothing(value: unknown): boolean {
  return value == null || value === '' || (Array.isArray(value) && value.length === 0);
}

function textOf(text: string, path: string): string {
  if (text.includes('\0')) throw new RowError('INVALID_TEXT', `${path} contains a NUL character`);
  if (!text.isWellFormed()) throw new RowError('INVALID_TEXT', `${path} contains half a surrogate pair`);
  return text;
}

function divide(chosen: Turn, rejected: Turn): PreferencePair {
  if (typeof chosen === 'string' && typeof rejected === 'string') return divideTexts(chosen, rejected);
  if (typeof chosen !== 'string' && typeof rejected !== 'string') return divideMessages(chosen, rejected);
  throw new RowError('WRONG_TYPE', 'chosen and rejected must both be texts or both be message lists');
}

function divideTexts(chosen: string, rejected: string): PreferencePair {
  const end = (text: string) => text.lastIndexOf(assistantMarker) + assistantMarker.length;
  if (!chosen.includes(assistantMarker) || !rejected.includes(assistantMarker)) {
    const remedy = 'a row without prompt needs dialogues with "\\n\\nAssistant:" turns';
    throw new RowError('MISSING_FIELD', `prompt is missing, and ${remedy}`);
  }
  const prompt = chosen.slice(0, end(chosen));
  if (rejected.slice(0, end(rejected)) !== prompt) {
    throw new RowError('PROMPTS_DIFFER', 'chosen and rejected differ before their last assistant turn');
  }
  return { prompt, chosen: chosen.slice(prompt.length), rejected: rejected.slice(prompt.length) };
}

function divideMessages(chosen: readonly Message[], rejected: readonly Message[]): PreferencePair {
  const same = (a: Message | undefined, b: Message | undefined) => a?.role === b?.role && a?.content === b?.content;
  const prompt = chosen.slice(0, -1);
  if (prompt.length !== rejected.length - 1 || !prompt.every((message, index) => same(message, rejected[index]))) {
    throw new RowError('PROMPTS_DIFFER', 'chosen and rejected differ before their last message');
  }
  return { prompt, chosen: chosen.slice(-1), rejected: rejected.slice(-1) };
}

function checked(pair: PreferencePair): PreferencePair {
  if (isEmpty(pair.prompt)) throw new RowError('EMPTY_PROMPT', 'prompt is empty');
  for (const name of ['chosen', 'rejected'] as const) {
    if (isEmpty(pair[name])) throw new RowError('EMPTY_RESPONSE', `${name} is empty`);
    if (typeof pair[name] !== 'string' && (pair[name].length !== 1 || pair[name][0]?.role !== 'assistant')) {
      throw new RowError('WRONG_TYPE', `${name} must be one message with the role assistant`);
    }
  }
  if (JSON.stringify(pair.chosen) === JSON.stringify(pair.rejected)) {
    throw new RowError('IDENTICAL_RESPONSES', 'chosen and rejected are the same');
  }
  return pair;
}

/** Whether there is only white space, from which nothing can be learned. */
function isEmpty(turn: Turn): boolean {
  return typeof turn === 'string' ? turn.trim() === '' : turn.every(({ content }) => content.trim() === '');
}
