import type { RefusedRows } from '@pairwise/api';
import { formatCount, formatTable } from './output.ts';

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
