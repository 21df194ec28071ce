import { DatasetReport } from '@pairwise/api';
import { listedLines } from '@pairwise/preference';

/** Combines the reports of several files. `duplicates` counts pairs that more than one of the files contains. */
export function sumReports(reports: readonly (DatasetReport | undefined)[], duplicates: number): DatasetReport {
  const sum = DatasetReport.create({ duplicateCount: duplicates, acceptedCount: -duplicates });
  for (const report of reports) {
    if (report === undefined) continue;
    sum.acceptedCount += report.acceptedCount;
    sum.refusedCount += report.refusedCount;
    sum.duplicateCount += report.duplicateCount;
    for (const { reason, count, firstLines, firstProblem } of report.refused) {
      let entry = sum.refused.find((each) => each.reason === reason);
      if (entry === undefined) sum.refused.push((entry = { reason, count: 0, firstLines: [], firstProblem }));
      entry.count += count;
      entry.firstLines = [...entry.firstLines, ...firstLines].slice(0, listedLines);
    }
  }
  return sum;
}
