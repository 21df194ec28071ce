import type { TemplateValue } from './library.ts';

/** A template did something that Python rejects, or that we do not support. The message names it. */
export class TemplateError extends Error {}

export const isNumber = ({ type }: TemplateValue) => type === 'IntegerValue' || type === 'FloatValue';
export const isSequence = ({ type }: TemplateValue) => type === 'ArrayValue' || type === 'TupleValue';
export const isMapping = ({ type }: TemplateValue) => type === 'ObjectValue';
export const isText = ({ type }: TemplateValue) => type === 'StringValue';

/** Python's `str(value)`: the text that a template prints. */
export function str(value: TemplateValue): string {
  return isText(value) ? (value.value as string) : repr(value);
}

export function repr(value: TemplateValue): string {
  switch (value.type) {
    case 'UndefinedValue':
      return '';
    case 'NullValue':
      return 'None';
    case 'BooleanValue':
      return value.value ? 'True' : 'False';
    case 'StringValue':
      return quoted(value.value as string);
    case 'ArrayValue':
      return `[${(value.value as TemplateValue[]).map(repr).join(', ')}]`;
    case 'TupleValue': {
      const items = (value.value as TemplateValue[]).map(repr);
      return items.length === 1 ? `(${items[0]},)` : `(${items.join(', ')})`;
    }
    case 'ObjectValue': {
      const entries = [...(value.value as Map<string, TemplateValue>)].map(
        ([key, each]) => `${quoted(key)}: ${repr(each)}`,
      );
      return `{${entries.join(', ')}}`;
    }
    case 'IntegerValue':
    case 'FloatValue':
      return value.toString();
    default:
      throw new TemplateError(`a ${value.type} cannot be printed`);
  }
}

/** Python's repr of a string. It uses single quotes, unless the string contains single quotes and no double ones. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/\\|\p{Cc}|\xad|\xa0/gu, escapeOf);
  return quote + escaped.replaceAll(quote, `\\${quote}`) + quote;
}

function escapeOf(character: string): string {
  const short: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  return short[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

/** Python's `==`. Lists and mappings are compared by content, and a string never equals a number. */
export function equal(left: TemplateValue, right: TemplateValue): boolean {
  const numeric = (value: TemplateValue) => isNumber(value) || value.type === 'BooleanValue';
  if (numeric(left) && numeric(right)) return Number(left.value) === Number(right.value);
  if (left.type !== right.type) return false;
  if (isSequence(left)) {
    const [ours, theirs] = [left.value as TemplateValue[], right.value as TemplateValue[]];
    return ours.length === theirs.length && ours.every((each, index) => equal(each, theirs[index]!));
  }
  if (isMapping(left)) {
    const [ours, theirs] = [left.value as Map<string, TemplateValue>, right.value as Map<string, TemplateValue>];
    const same = ([key, each]: [string, TemplateValue]) => theirs.has(key) && equal(each, theirs.get(key)!);
    return ours.size === theirs.size && [...ours].every(same);
  }
  return left.value === right.value;
}

/** The positional and keyword arguments of a call. The library passes keyword arguments as the last value. */
export class Arguments {
  readonly positional: readonly TemplateValue[];
  readonly named: ReadonlyMap<string, TemplateValue>;

  constructor(values: readonly TemplateValue[]) {
    const last = values.at(-1);
    const hasNames = last?.type === 'KeywordArgumentsValue';
    this.positional = hasNames ? values.slice(0, -1) : values;
    this.named = hasNames ? (last.value as Map<string, TemplateValue>) : new Map();
  }

  get(name: string, position: number): TemplateValue | undefined {
    return this.positional[position] ?? this.named.get(name);
  }
}
