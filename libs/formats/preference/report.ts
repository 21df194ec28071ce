import type { Refusal, RowError } from './rows.ts';

/** What happened to the rows: counts, and for each reason where the first refused rows were. */
export interface Report {
  acceptedCount: number;
  refusedCount: number;
  duplicateCount: number;
  /** For each reason: the number of rows, the lines of the first ones, and the problem of the very first. */
  refused: { reason: Refusal; count: number; firstLines: number[]; firstProblem: string }[];
}

/** The number of lines listed for each reason. */
export const listedLines = 20;

export function emptyReport(): Report {
  return { acceptedCount: 0, refusedCount: 0, duplicateCount: 0, refused: [] };
}

/** The refused pairs of an encoding in words, by reason: how many, and what is wrong with the first. */
export function refusalsText(
  refused: readonly { reason: string; count: number; firstLines: readonly number[]; firstProblem: string }[],
): string {
  const texts = refused.map(
    ({ reason, count, firstLines, firstProblem }) =>
      `${count} ${reason} (the first is pair ${firstLines[0]}: ${firstProblem})`,
  );
  return texts.join(', ');
}

/** Adds a refused row to the report. */
export function noteRefusal(report: Report, { refusal, message }: RowError, line: number): void {
  report.refusedCount += 1;
  let entry = report.refused.find((each) => each.reason === refusal);
  if (entry === undefined)
    report.refused.push((entry = { reason: refusal, count: 0, firstLines: [], firstProblem: message }));
  entry.count += 1;
  if (entry.firstLines.length < listedLines) entry.firstLines.push(line);
}
