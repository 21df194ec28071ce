import { DatasetReport } from '@pairwise/api';
import { listedLines } from '@pairwise/preference';

/** The reports of several files as one; `duplicates` are pairs that more than one file held. */
export function sumReports(reports: readonly (DatasetReport | undefined)[], duplicates: number): DatasetReport {
  const sum = DatasetReport.create({ duplicateCount: duplicates, acceptedCount: -duplicates });
  for (const report of reports) {
    if (report === undefined) continue;
    sum.acceptedCount += report.acceptedCount;
    sum.refusedCount += report.refusedCount;
    sum.duplicateCount += report.duplicateCount;
    for (const { reason, count, firstLines } of report.refused) {
      let entry = sum.refused.find((each) => each.reason === reason);
      if (entry === undefined) sum.refused.push((entry = { reason, count: 0, firstLines: [] }));
      entry.count += count;
      entry.firstLines = [...entry.firstLines, ...firstLines].slice(0, listedLines);
    }
  }
  return sum;
}
