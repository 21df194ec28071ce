import { randomUUID } from 'node:crypto';
import { Dataset, DatasetVersion } from '@pairwise/api';
import { Command, Option } from 'commander';
import { type Context, action } from '../context.ts';
import { resourceName, shortName, versionName } from '../names.ts';
import { fields, formatCount, formatTime, say, sayJson, formatTable } from '../output.ts';
import { readAll } from '../paging.ts';
import { importFiles, importHelp, printRefused } from './importFiles.ts';
import { limitOption } from './options.ts';

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
    say(formatTable(['DATASET', 'LATEST VERSION', 'CREATED'], rows));
  }
  return undefined;
}

async function get(context: Context, text: string): Promise<undefined> {
  const { services, json, project } = context;
  const version = versionName(text, project);
  if (version !== undefined) {
    const found = (await services.dataset.getDatasetVersion({ name: version })).version!;
    if (json) sayJson(DatasetVersion.toJSON(found));
    else printVersion(found, project);
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
  say(`\n${formatTable(['VERSION', 'PAIRS', 'REFUSED', 'SEALED', 'DIGEST'], rows)}`);
  return undefined;
}

function printVersion(version: DatasetVersion, project: string): void {
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
  if (report !== undefined) printRefused(report);
}

async function remove({ services, json, project }: Context, text: string): Promise<undefined> {
  const name = resourceName('datasets', text, project);
  await services.dataset.deleteDataset({ name, etag: '', requestId: randomUUID() });
  if (json) sayJson({});
  else say(`Deleted ${shortName(name, project)}`);
  return undefined;
}
