import { join, resolve } from 'node:path';
import { Artifact } from '@pairwise/api';
import { Command } from 'commander';
import { type Context, action } from '../context.ts';
import { usage } from '../exit.ts';
import { shortName } from '../names.ts';
import { paint, say, sayJson, formatTable } from '../output.ts';
import { byteMeter } from '../progress.ts';
import { artifactDetails } from '../watch/artifact.ts';
import { artifactTable } from '../watch/summary.ts';
import { downloadArtifactFile } from './download.ts';
import { pushCommand } from './push.ts';
import { artifactsOf, idOf, refuseArtifact } from './runArtifacts.ts';

/** `pairwise artifacts ...`. */
export function artifactsCommand(): Command {
  const artifacts = new Command('artifacts').description(
    'list, download and push what runs produced: adapters, merged models, GGUF files',
  );
  artifacts.command('list').description('list the artifacts of a run').argument('<run>').action(action(list));
  artifacts
    .command('get')
    .description('show an artifact: its files, how close it is to the policy, and its answers to fixed prompts')
    .argument('<run>')
    .argument('<artifact>')
    .action(action(get));
  artifacts
    .command('download')
    .description('download the artifacts of a run; an interrupted download resumes')
    .argument('<run>')
    .option('-o, --output <folder>', 'target folder, with a subfolder per artifact. Default: ./<run>')
    .option('--artifact <name...>', 'download only these artifacts')
    .addHelpText(
      'after',
      `
Every file is checked against its sha256 before it appears under its name.

Examples:
  $ pairwise artifacts download run-1a2b3c4d
  $ pairwise artifacts download run-1a2b3c4d --artifact gguf-q4-k-m -o models
  $ cd run-1a2b3c4d/gguf-f16 && ollama create mine -f Modelfile`,
    )
    .action(action(download));
  artifacts.addCommand(pushCommand());
  return artifacts;
}

async function list(context: Context, text: string): Promise<undefined> {
  const { run, artifacts } = await artifactsOf(context, text);
  if (context.json) artifacts.forEach((artifact) => sayJson(Artifact.toJSON(artifact)));
  else if (artifacts.length === 0) say(`${shortName(run.name, context.project)} has no artifacts yet.`);
  else say(artifactTable(artifacts));
  return undefined;
}

async function get(context: Context, text: string, wanted: string): Promise<undefined> {
  const { run, artifacts } = await artifactsOf(context, text);
  const artifact = artifacts.find((each) => idOf(each) === wanted);
  if (artifact === undefined) return refuseArtifact(run, wanted, artifacts, context);
  if (context.json) sayJson(Artifact.toJSON(artifact));
  else say(artifactDetails(artifact));
  return undefined;
}

interface DownloadOptions {
  output?: string;
  artifact?: string[];
}

async function download(context: Context, text: string, { output, artifact: only }: DownloadOptions) {
  const { services, json, project, interrupted: signal } = context;
  const { run, artifacts } = await artifactsOf(context, text);
  const id = shortName(run.name, project);
  const unknown = only?.find((name) => !artifacts.some((artifact) => idOf(artifact) === name));
  if (unknown !== undefined) refuseArtifact(run, unknown, artifacts, context);
  const chosen = artifacts.filter((artifact) => only?.includes(idOf(artifact)) ?? true);
  if (chosen.length === 0) usage(`${id} has no artifacts yet`);
  const folder = resolve(output ?? run.name.split('/').at(-1)!);
  const rows: string[][] = [];
  for (const artifact of chosen) {
    for (const file of artifact.files) {
      const meter = byteMeter(file.path, Number(file.sizeBytes));
      try {
        const place = { artifact: artifact.name, file, folder: join(folder, idOf(artifact)) };
        const path = await downloadArtifactFile(services, { ...place, signal, onProgress: meter.update });
        rows.push([path, file.digest.slice('sha256:'.length)]);
        if (json) sayJson({ artifact: artifact.name, path, sizeBytes: String(file.sizeBytes), digest: file.digest });
      } finally {
        meter.stop();
      }
    }
  }
  if (json) return undefined;
  say(formatTable(['FILE', 'SHA256'], rows));
  say(`\n${paint('green', '✔')} ${rows.length} files, all checked`);
  return undefined;
}
