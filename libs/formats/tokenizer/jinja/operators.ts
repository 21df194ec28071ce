import { percentFormat } from './formatting.ts';
import { capitalize, strip } from './text.ts';
import type { TemplateValue } from './library.ts';
import { type Arguments, TemplateError, equal, isSequence, isText, str } from './values.ts';

/** The result of an operator in Python, or undefined if the template library gives the same result. Throws TemplateError. */
export function binaryOperation(operator: string, left: TemplateValue, right: TemplateValue): unknown {
  switch (operator) {
    case '==':
      return equal(left, right);
    case '!=':
      return !equal(left, right);
    case 'in':
    case 'not in': {
      const found = isSequence(right) ? (right.value as TemplateValue[]).some((each) => equal(each, left)) : undefined;
      return found === undefined ? undefined : found === (operator === 'in');
    }
    case '~':
      return str(left) + str(right);
    case '+':
      if (isText(left) === isText(right)) return undefined;
      throw new TemplateError('a string and another type cannot be added; use ~ instead of +');
    case '%': {
      if (isText(left)) return percentFormat(left.value as string, right);
      const [a, b] = [left.value as number, right.value as number];
      return left.type === 'IntegerValue' && right.type === 'IntegerValue' && b !== 0 ? ((a % b) + b) % b : undefined;
    }
    default:
      return undefined;
  }
}

/** The filters that the template library lacks or implements differently from jinja2. They may return undefined as well. */
export const filters: ReadonlyMap<string, (operand: TemplateValue, given: Arguments) => unknown> = new Map<
  string,
  (operand: TemplateValue, given: Arguments) => unknown
>([
  ['string', (operand) => str(operand)],
  ['length', (operand) => (isText(operand) ? Array.from(operand.value as string).length : undefined)],
  ['count', (operand) => Array.from(operand.value as Iterable<unknown>).length],
  ['list', (operand) => (isText(operand) ? Array.from(operand.value as string) : undefined)],
  ['upper', (operand) => str(operand).toUpperCase()],
  ['lower', (operand) => str(operand).toLowerCase()],
  ['capitalize', (operand) => capitalize(str(operand))],
  ['title', (operand) => titleWords(str(operand))],
  ['trim', (operand, given) => strip(str(operand), given.get('chars', 0), true, true)],
  // No character of a text has attributes.
  ['selectattr', (operand) => (isText(operand) ? [] : emptyForNone(operand))],
  ['rejectattr', (operand) => (isText(operand) ? Array.from(operand.value as string) : emptyForNone(operand))],
  ['select', emptyForNone],
  ['reject', emptyForNone],
  ['map', emptyForNone],
  ['join', join],
  ['int', (operand, given) => (isText(operand) ? integerOf(operand.value as string, given) : undefined)],
]);

/** The filters that go through items find none in `none`, and in what is undefined. */
function emptyForNone({ type }: TemplateValue): [] | undefined {
  return type === 'NullValue' || type === 'UndefinedValue' ? [] : undefined;
}

function join(operand: TemplateValue, given: Arguments): string {
  const separator = given.get('d', 0);
  const parts = isText(operand) ? Array.from(operand.value as string) : (operand.value as TemplateValue[]).map(str);
  return parts.join(separator === undefined ? '' : str(separator));
}

/** Jinja's `title` filter. Unlike Python's method, it does not split words at apostrophes. */
function titleWords(text: string): string {
  return text.replace(/[^-\s({[<]+/gu, capitalize);
}

/** Jinja's `int` filter: a decimal number is truncated, and anything else gives the default. */
function integerOf(text: string, given: Arguments): unknown {
  const number = /^\s*[+-]?\d+(\.\d*)?\s*$/.test(text) ? Math.trunc(Number(text)) : NaN;
  return Number.isNaN(number) ? (given.get('default', 0)?.value ?? 0) : number;
}
