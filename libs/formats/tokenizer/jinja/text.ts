import { format } from './formatting.ts';
import type { TemplateValue } from './library.ts';
import { type Arguments, TemplateError, isText } from './values.ts';

const space = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

/** Python's `strip`, `lstrip` and `rstrip`: they remove whitespace, or the given characters. */
export function strip(text: string, characters: TemplateValue | undefined, left: boolean, right: boolean): string {
  if (characters === undefined || characters.type === 'NullValue') {
    const start = left ? text.replace(new RegExp(`^[${space}]+`), '') : text;
    return right ? trimEnd(start, new RegExp(`[${space}]`)) : start;
  }
  const set = new Set(textOf(characters, 'strip()'));
  const all = Array.from(text);
  let [from, to] = [0, all.length];
  while (left && from < to && set.has(all[from]!)) from += 1;
  while (right && to > from && set.has(all[to - 1]!)) to -= 1;
  return all.slice(from, to).join('');
}

/** A loop, because the regular expression `[ ]+$` takes quadratic time on long runs of spaces. */
function trimEnd(text: string, characters: RegExp): string {
  let end = text.length;
  while (end > 0 && characters.test(text[end - 1]!)) end -= 1;
  return text.slice(0, end);
}

function textOf(value: TemplateValue | undefined, where: string): string {
  if (value !== undefined && isText(value)) return value.value as string;
  throw new TemplateError(`${where} needs a string`);
}

/** Python's `split` and `rsplit`. */
function split(text: string, arguments_: Arguments, fromRight: boolean): string[] {
  const separator = arguments_.get('sep', 0);
  const limit = arguments_.get('maxsplit', 1)?.value as number | undefined;
  const most = limit === undefined || limit < 0 ? Infinity : limit;
  if (separator === undefined || separator.type === 'NullValue') return splitAtSpace(text, most, fromRight);
  const cut = textOf(separator, 'split()');
  if (cut === '') throw new TemplateError('split() got an empty separator');
  const parts = text.split(cut);
  if (parts.length - 1 <= most) return parts;
  return fromRight
    ? [parts.slice(0, parts.length - most).join(cut), ...parts.slice(parts.length - most)]
    : [...parts.slice(0, most), parts.slice(most).join(cut)];
}

function splitAtSpace(text: string, most: number, fromRight: boolean): string[] {
  const words = [...text.matchAll(new RegExp(`[^${space}]+`, 'g'))];
  if (words.length - 1 <= most) return words.map(([word]) => word);
  if (!fromRight) return [...words.slice(0, most).map(([word]) => word), text.slice(words[most]!.index)];
  const lastOfRest = words[words.length - 1 - most]!;
  const rest = text.slice(0, lastOfRest.index + lastOfRest[0].length);
  return [rest, ...words.slice(words.length - most).map(([word]) => word)];
}

/** Python's `str.title`: capitalizes the first letter of every run of letters and lowers the others. */
function title(text: string): string {
  return text.replace(/\p{L}+/gu, (word) => {
    const [first, ...rest] = Array.from(word);
    return first!.toUpperCase() + rest.join('').toLowerCase();
  });
}

export function capitalize(text: string): string {
  const [first = '', ...rest] = Array.from(text);
  return first.toUpperCase() + rest.join('').toLowerCase();
}

type Result = string | number | boolean | string[];

/** The methods of Python's `str` that the template library lacks or implements differently. */
export const textMethods: ReadonlyMap<string, (text: string, given: Arguments) => Result> = new Map<
  string,
  (text: string, given: Arguments) => Result
>([
  ['strip', (text, given) => strip(text, given.get('chars', 0), true, true)],
  ['lstrip', (text, given) => strip(text, given.get('chars', 0), true, false)],
  ['rstrip', (text, given) => strip(text, given.get('chars', 0), false, true)],
  ['split', (text, given) => split(text, given, false)],
  ['rsplit', (text, given) => split(text, given, true)],
  ['splitlines', (text) => lines(text)],
  ['title', title],
  ['capitalize', capitalize],
  ['format', format],
  ['find', (text, given) => codePointAt(text, text.indexOf(textOf(given.get('sub', 0), 'find()')))],
  ['rfind', (text, given) => codePointAt(text, text.lastIndexOf(textOf(given.get('sub', 0), 'rfind()')))],
  ['count', (text, given) => text.split(textOf(given.get('sub', 0), 'count()')).length - 1],
  [
    'join',
    (text, given) => (given.positional[0]?.value as TemplateValue[]).map((each) => textOf(each, 'join()')).join(text),
  ],
  ['removeprefix', (text, given) => without(text, textOf(given.get('prefix', 0), 'removeprefix()'), true)],
  ['removesuffix', (text, given) => without(text, textOf(given.get('suffix', 0), 'removesuffix()'), false)],
  ['isdigit', (text) => /^\p{Nd}+$/u.test(text)],
  ['isalpha', (text) => /^\p{L}+$/u.test(text)],
  ['isalnum', (text) => /^[\p{L}\p{Nd}]+$/u.test(text)],
  ['isspace', (text) => new RegExp(`^[${space}]+$`).test(text)],
  ['isupper', (text) => text !== text.toLowerCase() && text === text.toUpperCase()],
  ['islower', (text) => text !== text.toUpperCase() && text === text.toLowerCase()],
]);

const lineEnd = '\\r\\n|[\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029]';

function lines(text: string): string[] {
  const all = text.split(new RegExp(lineEnd));
  return all.at(-1) === '' ? all.slice(0, -1) : all;
}

function without(text: string, part: string, atStart: boolean): string {
  if (part === '') return text;
  if (atStart) return text.startsWith(part) ? text.slice(part.length) : text;
  return text.endsWith(part) ? text.slice(0, -part.length) : text;
}

/** Python counts characters, not UTF-16 units. */
function codePointAt(text: string, index: number): number {
  return index <= 0 ? index : Array.from(text.slice(0, index)).length;
}
