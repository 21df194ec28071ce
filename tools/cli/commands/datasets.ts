import { randomUUID } from 'node:crypto';
import { Dataset, DatasetVersion, type DatasetReport, Import, ImportPolicy } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { Command, Option } from 'commander';
import { type Context, action } from '../context.ts';
import { resourceName, shortName, versionName } from '../names.ts';
import { fields, formatBytes, formatCount, formatTime, paint, say, sayJson, table } from '../output.ts';
import { readAll } from '../paging.ts';
import { limitOption } from './options.ts';
import { uploadPairs, uploadSize } from './upload.ts';

interface ImportOptions {
  policy: 'strict' | 'skip';
  seal: boolean;
}

const policies = { strict: ImportPolicy.STRICT, skip: ImportPolicy.SKIP } as const;

/** `pairwise datasets ...`. */
export function datasetsCommand(): Command {
  const datasets = new Command('datasets').description('import and inspect preference pairs');
  datasets
    .command('import')
    .description('upload files of pairs and seal them as the next version')
    .argument('<dataset>', 'id of the dataset; created if it does not exist')
    .argument('<file...>', 'JSONL or a JSON array, plain or gzip')
    .addOption(
      new Option('--policy <policy>', 'strict: refuse a file with a bad row; skip: leave bad rows out and count them')
        .choices(['strict', 'skip'])
        .default('strict'),
    )
    .option('--no-seal', 'import only, without sealing a version')
    .addHelpText('after', importHelp)
    .action(action(importFiles));
  datasets.command('list').description('list datasets, newest first').addOption(limitOption()).action(action(list));
  datasets
    .command('get')
    .description('show a dataset with its versions, or one version')
    .argument('<dataset>', 'concise, or concise/2 for a version')
    .action(action(get));
  datasets
    .command('delete')
    .description('delete a dataset with its versions')
    .argument('<dataset>')
    .action(action(remove));
  return datasets;
}

const importHelp = `
A row is {"prompt", "chosen", "rejected"} with texts or message lists, or {"chosen", "rejected"} that both begin with the
prompt. Run the same command again to resume an interrupted upload.

Examples:
  $ pairwise datasets import concise pairs.jsonl
  $ pairwise datasets import hh train.jsonl.gz more.jsonl.gz --policy skip`;

async function importFiles(
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
    say(table(['FILE', 'ACCEPTED', 'DUPLICATES', 'REFUSED'], rows));
    for (const report of reports) sayRefused(report);
  }
  if (!seal) return undefined;
  const version = await sealVersion(context, parent);
  if (json) sayJson(DatasetVersion.toJSON(version));
  else say(`\n${paint('green', '✔')} ${shortName(version.name, project)}: ${formatCount(version.pairCount)} pairs`);
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

/** Prints the refused rows by reason. */
function sayRefused({ refused, refusedCount }: DatasetReport): void {
  if (refusedCount === 0) return;
  const rows = refused.map(({ reason, count, firstLines }) => [
    reason,
    formatCount(count),
    `${firstLines.slice(0, 8).join(', ')}${count > Math.min(8, firstLines.length) ? ', …' : ''}`,
  ]);
  say(`\n${table(['REFUSED BECAUSE', 'ROWS', 'LINES'], rows)}`);
}

async function list({ services, json, project }: Context, { limit }: { limit: number }): Promise<undefined> {
  const datasets = await readAll(limit, async (page) => {
    const { datasets: items, nextPageToken } = await services.dataset.listDatasets({ parent: project, ...page });
    return { items, nextPageToken };
  });
  if (json) datasets.forEach((dataset) => sayJson(Dataset.toJSON(dataset)));
  else if (datasets.length === 0) say("No datasets yet. Import one: 'pairwise datasets import <dataset> <file>'.");
  else {
    const rows = datasets.map(({ name, latestVersion, createTime }) => [
      shortName(name, project),
      latestVersion === 0 ? 'none' : String(latestVersion),
      formatTime(createTime),
    ]);
    say(table(['DATASET', 'LATEST VERSION', 'CREATED'], rows));
  }
  return undefined;
}

async function get(context: Context, text: string): Promise<undefined> {
  const { services, json, project } = context;
  const version = versionName(text, project);
  if (version !== undefined) {
    const found = (await services.dataset.getDatasetVersion({ name: version })).version!;
    if (json) sayJson(DatasetVersion.toJSON(found));
    else sayVersion(found, project);
    return undefined;
  }
  const name = resourceName('datasets', text, project);
  const { dataset } = await services.dataset.getDataset({ name });
  const versions = await readAll(1000, async (page) => {
    const { versions: items, nextPageToken } = await services.dataset.listDatasetVersions({ parent: name, ...page });
    return { items, nextPageToken };
  });
  if (json) {
    sayJson(Dataset.toJSON(dataset!));
    return undefined;
  }
  const pairs = [
    ['dataset', dataset!.name],
    ['created', formatTime(dataset!.createTime)],
  ] as const;
  say(fields(pairs));
  if (versions.length === 0) return undefined;
  const rows = versions.map((one) => [
    shortName(one.name, project),
    formatCount(one.pairCount),
    formatCount(one.report?.refusedCount ?? 0),
    formatTime(one.createTime),
    one.digest.slice(0, 19),
  ]);
  say(`\n${table(['VERSION', 'PAIRS', 'REFUSED', 'SEALED', 'DIGEST'], rows)}`);
  return undefined;
}

function sayVersion(version: DatasetVersion, project: string): void {
  const { name, pairCount, createTime, digest, report } = version;
  const pairs = [
    ['version', shortName(name, project)],
    ['name', name],
    ['pairs', formatCount(pairCount)],
    ['duplicates', formatCount(report?.duplicateCount ?? 0)],
    ['refused', formatCount(report?.refusedCount ?? 0)],
    ['sealed', formatTime(createTime)],
    ['digest', digest],
  ] as const;
  say(fields(pairs));
  if (report !== undefined) sayRefused(report);
}

async function remove({ services, json, project }: Context, text: string): Promise<undefined> {
  const name = resourceName('datasets', text, project);
  await services.dataset.deleteDataset({ name, etag: '', requestId: randomUUID() });
  if (json) sayJson({});
  else say(`Deleted ${shortName(name, project)}`);
  return undefined;
}
