import type { TemplateValue } from './library.ts';
import { type Arguments, TemplateError, isMapping, isNumber, repr, str } from './values.ts';

/** `'{} {name} {0}'.format(...)`, without format specifications and attributes. */
export function format(text: string, given: Arguments): string {
  let next = 0;
  return text.replace(/\{\{|\}\}|\{([^{}]*)\}/g, (whole, field: string | undefined) => {
    if (field === undefined) return whole[0]!;
    const isPosition = /^\d*$/.test(field);
    const value = isPosition ? given.positional[field === '' ? next++ : Number(field)] : given.named.get(field);
    if (value !== undefined) return str(value);
    throw new TemplateError('format() has a field without a value, or with a specification');
  });
}

/** Python's `text % values`. */
export function percentFormat(text: string, values: TemplateValue): string {
  const list = values.type === 'TupleValue' ? (values.value as TemplateValue[]) : [values];
  const names = isMapping(values) ? (values.value as Map<string, TemplateValue>) : undefined;
  let next = 0;
  const written = text.replace(
    /%(?:\((\w+)\))?([-0 +#]*)(\d*)(?:\.(\d+))?([a-zA-Z%])/g,
    (_, name: string | undefined, flags: string, width: string, precision: string | undefined, kind: string) => {
      if (kind === '%') return '%';
      const value = name === undefined ? list[next++] : names?.get(name);
      if (value === undefined) throw new TemplateError('% has a conversion without a value');
      return aligned(converted(value, kind, precision), flags, Number(width));
    },
  );
  if (next < list.length && names === undefined) throw new TemplateError('not all values are used by %');
  return written;
}

function converted(value: TemplateValue, kind: string, precision: string | undefined): string {
  if (kind === 's') return str(value).slice(0, precision === undefined ? undefined : Number(precision));
  if (kind === 'r') return repr(value);
  const number = isNumber(value) || value.type === 'BooleanValue' ? Number(value.value) : NaN;
  if (Number.isNaN(number)) throw new TemplateError(`%${kind} needs a number`);
  if (kind === 'd' || kind === 'i') return String(Math.trunc(number));
  if (kind === 'x' || kind === 'X') {
    return kind === 'x' ? Math.trunc(number).toString(16) : Math.trunc(number).toString(16).toUpperCase();
  }
  if (kind === 'f') return number.toFixed(Number(precision ?? 6));
  throw new TemplateError(`the conversion %${kind} is not supported`);
}

function aligned(text: string, flags: string, width: number): string {
  const signed = flags.includes('+') && /^\d/.test(text) ? `+${text}` : text;
  if (flags.includes('-')) return signed.padEnd(width);
  if (!flags.includes('0') || !/^[+-]?\d/.test(signed)) return signed.padStart(width);
  const [, sign, digits] = /^([+-]?)(.*)$/s.exec(signed)!;
  return sign! + digits!.padStart(width - sign!.length, '0');
}
