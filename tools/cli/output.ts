import { styleText } from 'node:util';
import { enumName } from '@pairwise/rpc';
import Table from 'cli-table3';

type Style = Parameters<typeof styleText>[0];

/** Colours a text if standard output is a terminal with colours. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** Prints a line to standard output. */
export function say(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** Prints an object in proto JSON on one line. */
export function sayJson(object: unknown): void {
  say(JSON.stringify(object));
}

/** No borders: they get in the way of grep and awk. */
const noBorders = Object.fromEntries(
  [
    ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
    ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'],
  ].map((place) => [place, '']),
);

/** A table with a header; columns of numbers are right-aligned. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const numeric = (column: number) => rows.length > 0 && rows.every((row) => /^-?[\d.,]+%?$/.test(row[column] ?? ''));
  const aligned = new Table({
    head: head.map((name) => paint('dim', name)),
    chars: { ...noBorders, middle: '  ' },
    colAligns: head.map((_, column) => (numeric(column) ? 'right' : 'left')),
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  aligned.push(...rows.map((row) => [...row]));
  return aligned
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Names and values, one pair per line; empty values are left out. */
export function fields(pairs: readonly (readonly [string, string])[]): string {
  const shown = pairs.filter(([, value]) => value !== '');
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${paint('dim', name.padEnd(width))}  ${value}`).join('\n');
}

/** A count as 1,234,567. */
export function formatCount(count: number | bigint): string {
  return count.toLocaleString('en-US');
}

/** Bytes as 1.4 MB; units are powers of 1000. */
export function formatBytes(bytes: number | bigint): string {
  let value = Number(bytes);
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]!}`;
}

/** A duration as 42 s, 3 min 05 s or 2 h 07 min. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** A time as 2026-03-01 14:05:09, in the local time zone. */
export function formatTime(time: Date | undefined): string {
  if (time === undefined) return '';
  const local = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replace('T', ' ');
}

/** A state for people: `RunState.RUNNING` as `running`. */
export function formatEnum<E extends Readonly<Record<string, number>>>(type: E, value: E[keyof E]): string {
  return enumName(type, value).toLowerCase();
}
