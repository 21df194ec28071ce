import type { RefusedRows, RunOutputs, RunPairs } from '@pairwise/api';
import { fields, formatCount, formatTable, paint } from './output.ts';

/** How many positions of refused rows are shown for each reason. */
const shownLines = 8;

/** Refused rows or pairs by reason, with what is wrong with the first one. `head` names reason, count and positions. */
export function refusedTable(head: readonly [string, string, string], refused: readonly RefusedRows[]): string {
  const rows = refused.map(({ reason, count, firstLines, firstProblem }) => {
    const lines = firstLines.slice(0, shownLines);
    return [reason, formatCount(count), `${lines.join(', ')}${count > lines.length ? ', …' : ''}`, firstProblem];
  });
  return formatTable([...head, 'FIRST PROBLEM'], rows);
}

/** What became of a run's pairs when they were encoded: counts, and the pairs that were left out. Empty until then. */
export function pairsSummary(outputs: RunOutputs | undefined): string {
  const sets = [
    ['training pairs', outputs?.pairs],
    ['evaluation pairs', outputs?.evalPairs],
  ] as const;
  const known = sets.flatMap(([title, pairs]) => (pairs === undefined ? [] : [[title, pairs] as const]));
  if (known.length === 0) return '';
  const counts = fields(known.map(([title, pairs]) => [title, countsText(pairs)]));
  return [
    counts,
    ...known.filter(([, pairs]) => pairs.leftOutCount > 0).map(([title, pairs]) => leftOut(title, pairs)),
  ].join('\n\n');
}

function countsText({ encodedCount, conversationCount, leftOutCount }: RunPairs): string {
  const texts = encodedCount - conversationCount;
  const kinds = [
    conversationCount === 0 ? '' : `${formatCount(conversationCount)} conversations`,
    texts === 0 ? '' : `${formatCount(texts)} plain texts`,
  ];
  const encoded = `${formatCount(encodedCount)} encoded (${kinds.filter((kind) => kind !== '').join(', ')})`;
  return leftOutCount === 0 ? encoded : `${encoded}, ${paint('yellow', `${formatCount(leftOutCount)} left out`)}`;
}

function leftOut(title: string, { leftOut: refused, remedy }: RunPairs): string {
  const table = refusedTable([`${title.toUpperCase()} LEFT OUT`, 'PAIRS', 'POSITIONS'], refused);
  return remedy === '' ? table : `${table}\n${paint('yellow', remedy)}`;
}
