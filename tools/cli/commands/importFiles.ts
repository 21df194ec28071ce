import { randomUUID } from 'node:crypto';
import { DatasetVersion, type DatasetReport, Import, ImportPolicy } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Context } from '../context.ts';
import { resourceName, shortName } from '../names.ts';
import { formatBytes, formatCount, paint, say, sayJson, formatTable } from '../output.ts';
import { refusedTable } from '../refused.ts';
import { uploadPairs, uploadSize } from './upload.ts';

interface ImportOptions {
  policy: 'strict' | 'skip';
  seal: boolean;
}

const policies = { strict: ImportPolicy.STRICT, skip: ImportPolicy.SKIP } as const;

export const importHelp = `
A row is {"prompt", "chosen", "rejected"} with texts or message lists, or {"chosen", "rejected"} that both begin with the
prompt. Run the same command again to resume an interrupted upload.

Examples:
  $ pairwise datasets import concise pairs.jsonl
  $ pairwise datasets import hh train.jsonl.gz more.jsonl.gz --policy skip`;

/** `pairwise datasets import`. */
export async function importFiles(
  context: Context,
  dataset: string,
  files: string[],
  { policy, seal }: ImportOptions,
): Promise<undefined> {
  const { services, json, project, interrupted } = context;
  const parent = resourceName('datasets', dataset, project);
  // Checked first, so that a mistyped file name creates nothing.
  files.forEach(uploadSize);
  await ensureDataset(context, parent);
  const rows: string[][] = [];
  const reports: DatasetReport[] = [];
  for (const path of files) {
    const onResume = (offset: number) => void process.stderr.write(`${path}: resuming at ${formatBytes(offset)}\n`);
    const upload = { parent, path, policy: policies[policy], signal: interrupted, onResume };
    const done = await uploadPairs(services, upload);
    if (json) sayJson(Import.toJSON(done));
    if (done.report === undefined) continue;
    const { acceptedCount, refusedCount, duplicateCount } = done.report;
    rows.push([path, ...[acceptedCount, duplicateCount, refusedCount].map(formatCount)]);
    reports.push(done.report);
  }
  if (!json) {
    say(formatTable(['FILE', 'ACCEPTED', 'DUPLICATES', 'REFUSED'], rows));
    for (const report of reports) printRefused(report);
  }
  if (!seal) return undefined;
  const version = await sealVersion(context, parent);
  if (json) sayJson(DatasetVersion.toJSON(version));
  else
    say(
      `\n${paint('green', '✔')} ${shortName(version.name, project)}: ${formatCount(version.pairCount)} ${version.pairCount === 1 ? 'pair' : 'pairs'}`,
    );
  return undefined;
}

async function ensureDataset({ services, project }: Context, name: string): Promise<void> {
  const datasetId = name.split('/').at(-1)!;
  const parent = name.split('/').slice(0, 2).join('/') || project;
  try {
    await services.dataset.getDataset({ name });
  } catch (error) {
    if (!(error instanceof PairwiseError) || error.reason !== 'NOT_FOUND') throw error;
    await services.dataset.createDataset({ parent, datasetId, requestId: randomUUID(), validateOnly: false });
  }
}

/** Seals what was imported. If the newest version has all of it already, as after a repeated command, returns that. */
async function sealVersion({ services }: Context, parent: string): Promise<DatasetVersion> {
  try {
    return (await services.dataset.sealVersion({ parent, requestId: randomUUID() })).version!;
  } catch (error) {
    if (!(error instanceof PairwiseError) || error.reason !== 'EMPTY_DATASET') throw error;
    const { dataset } = await services.dataset.getDataset({ name: parent });
    if (dataset!.latestVersion === 0) throw error;
    const name = `${parent}/versions/${dataset!.latestVersion}`;
    return (await services.dataset.getDatasetVersion({ name })).version!;
  }
}

/** Prints the refused rows by reason, if there are any. */
export function printRefused({ refused, refusedCount }: DatasetReport): void {
  if (refusedCount === 0) return;
  say(`\n${refusedTable(['REFUSED BECAUSE', 'ROWS', 'LINES'], refused)}`);
}
