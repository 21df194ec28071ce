const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const dayMs = 86_400_000;

/** A directive's value: a text as it is, or a number with its least width and what fills it. */
type Field = string | { number: number; width: number; fill: '0' | ' ' };

/**
 * Formats the midnight of a date as Python's `datetime.strftime` does under Linux in the C locale, with its flags
 * (`%-d`, `%_d`, `%0e`, `%^a`). The date has no time zone: `%z` and `%Z` are empty. Unknown directives stay as they are.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%([-_0^#]?)(\d*)([a-zA-Z%])/g, (directive, flag: string, width: string, letter: string) => {
    const field = fields[letter]?.(date);
    if (field === undefined) return directive;
    const text = typeof field === 'string' ? field : padded(field, flag);
    const cased = flag === '^' ? text.toUpperCase() : flag === '#' ? swapped(letter, text) : text;
    return cased.padStart(Number(width), typeof field === 'string' ? ' ' : '0');
  });
}

function padded({ number, width, fill }: Exclude<Field, string>, flag: string): string {
  const fills: Record<string, string> = { '-': '', _: ' ', '0': '0' };
  const chosen = fills[flag] ?? fill;
  return chosen === '' ? String(number) : String(number).padStart(width, chosen);
}

/** What glibc makes of `#`: names of days and months in capitals, AM and PM in small letters. */
function swapped(letter: string, text: string): string {
  if (letter === 'p') return text.toLowerCase();
  return 'aAbBh'.includes(letter) ? text.toUpperCase() : text;
}

const two = (number: number): Field => ({ number, width: 2, fill: '0' });
const spaced = (number: number): Field => ({ number, width: 2, fill: ' ' });
const hour12 = (date: Date) => ((date.getUTCHours() + 11) % 12) + 1;

const fields: Record<string, (date: Date) => Field> = {
  a: (date) => weekdays[date.getUTCDay()]!.slice(0, 3),
  A: (date) => weekdays[date.getUTCDay()]!,
  b: (date) => months[date.getUTCMonth()]!.slice(0, 3),
  B: (date) => months[date.getUTCMonth()]!,
  c: (date) => strftime(date, '%a %b %e %H:%M:%S %Y'),
  C: (date) => two(Math.floor(date.getUTCFullYear() / 100)),
  d: (date) => two(date.getUTCDate()),
  D: (date) => strftime(date, '%m/%d/%y'),
  e: (date) => spaced(date.getUTCDate()),
  f: () => '000000',
  F: (date) => strftime(date, '%Y-%m-%d'),
  g: (date) => two(isoWeek(date).year % 100),
  G: (date) => ({ number: isoWeek(date).year, width: 4, fill: '0' }),
  h: (date) => months[date.getUTCMonth()]!.slice(0, 3),
  H: (date) => two(date.getUTCHours()),
  I: (date) => two(hour12(date)),
  j: (date) => ({ number: dayOfYear(date) + 1, width: 3, fill: '0' }),
  k: (date) => spaced(date.getUTCHours()),
  l: (date) => spaced(hour12(date)),
  m: (date) => two(date.getUTCMonth() + 1),
  M: (date) => two(date.getUTCMinutes()),
  n: () => '\n',
  p: (date) => (date.getUTCHours() < 12 ? 'AM' : 'PM'),
  P: (date) => (date.getUTCHours() < 12 ? 'am' : 'pm'),
  r: (date) => strftime(date, '%I:%M:%S %p'),
  R: (date) => strftime(date, '%H:%M'),
  s: (date) => String(Math.floor(date.getTime() / 1000)),
  S: (date) => two(date.getUTCSeconds()),
  t: () => '\t',
  T: (date) => strftime(date, '%H:%M:%S'),
  u: (date) => String(date.getUTCDay() || 7),
  U: (date) => two(Math.floor((dayOfYear(date) + 7 - date.getUTCDay()) / 7)),
  V: (date) => two(isoWeek(date).week),
  w: (date) => String(date.getUTCDay()),
  W: (date) => two(Math.floor((dayOfYear(date) + 7 - ((date.getUTCDay() + 6) % 7)) / 7)),
  x: (date) => strftime(date, '%m/%d/%y'),
  X: (date) => strftime(date, '%H:%M:%S'),
  y: (date) => two(date.getUTCFullYear() % 100),
  Y: (date) => String(date.getUTCFullYear()),
  z: () => '',
  Z: () => '',
  '%': () => '%',
};

/** Days since the first of January. */
function dayOfYear(date: Date): number {
  return Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / dayMs);
}

/** ISO 8601: a week belongs to the year of its Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
  const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * dayMs);
  return { year: thursday.getUTCFullYear(), week: Math.floor(dayOfYear(thursday) / 7) + 1 };
}
