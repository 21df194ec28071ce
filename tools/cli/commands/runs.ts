import { randomUUID } from 'node:crypto';
import { Run, RunState, StageState, type Stage, type WorkerMemory } from '@pairwise/api';
import { Command } from 'commander';
import { type Context, action } from '../context.ts';
import { failureOf } from '../exit.ts';
import { resourceName, shortName } from '../names.ts';
import {
  fields,
  formatBytes,
  formatCount,
  formatEnum,
  formatSeconds,
  formatTime,
  paint,
  say,
  sayJson,
  formatTable,
} from '../output.ts';
import { readAll } from '../paging.ts';
import { runQuantization } from '../quantization.ts';
import { pairsSummary } from '../refused.ts';
import { traced } from '../traced.ts';
import { artifactTable } from '../watch/summary.ts';
import { watchUntilEnd } from '../watch/watch.ts';
import { createHelp, createRunFromSpec, reportStarted } from './createRun.ts';
import { estimateHelp, estimateSpec, memoryText } from './estimate.ts';
import { limitOption } from './options.ts';

const collect = (value: string, before: string[] | undefined) => [...(before ?? []), value];

/** `pairwise runs ...`. */
export function runsCommand(): Command {
  const runs = new Command('runs').description('start, watch and manage DPO runs');
  runs
    .command('create')
    .description('start a run')
    .option('-f, --file <file>', "the run's spec in YAML or JSON; - for standard input")
    .option('--set <field=value>', 'set a field of the spec; may be repeated', collect)
    .option('--id <id>', 'id of the run; default: chosen by the server')
    .option('--watch', 'show the run until it ends')
    .option('--validate-only', 'check the spec and print it with all defaults, without starting a run')
    .addHelpText('after', createHelp)
    .action(action(createRunFromSpec));
  runs
    .command('estimate')
    .description('show what a run would compute, how much memory it needs and how long it takes, without starting it')
    .option('-f, --file <file>', "the run's spec in YAML or JSON; - for standard input")
    .option('--set <field=value>', 'set a field of the spec; may be repeated', collect)
    .addHelpText('after', estimateHelp)
    .action(action(estimateSpec));
  runs
    .command('watch')
    .description('show a run until it ends; Ctrl-C stops watching, not the run')
    .argument('<run>')
    .addHelpText('after', `\nThe exit code follows the run: 0 succeeded, 1 failed, 4 cancelled; 130 after Ctrl-C.`)
    .action(action((context: Context, run: string) => watchUntilEnd(context, nameOf(context, run))));
  runs.command('list').description('list runs, newest first').addOption(limitOption()).action(action(list));
  runs.command('get').description('show a run').argument('<run>').action(action(get));
  runs
    .command('cancel')
    .description('cancel a run; its last checkpoint is kept')
    .argument('<run>')
    .action(action(cancel));
  runs
    .command('retry')
    .description('continue a failed or cancelled run from its last checkpoint')
    .argument('<run>')
    .option('--watch', 'show the run until it ends')
    .action(action(retry));
  runs
    .command('delete')
    .description('delete a finished run with its checkpoints and artifacts')
    .argument('<run>')
    .action(action(remove));
  return runs;
}

const nameOf = ({ project }: Context, text: string) => resourceName('runs', text, project);

/** The current stage of a run and its progress: `train 63/125 steps`. */
function currentStage({ state, stages }: Run): string {
  const stage = stages.find(({ state: own }) => own === StageState.RUNNING || own === StageState.FAILED);
  if (stage === undefined || state === RunState.SUCCEEDED) return '';
  return [stage.name, progressText(stage)].filter((text) => text !== '').join(' ');
}

function progressText({ progress }: Stage): string {
  if (progress === undefined || progress.totalCount === 0n) return '';
  return `${formatCount(progress.completedCount)}/${formatCount(progress.totalCount)} ${progress.unit}`;
}

async function list({ services, json, project }: Context, { limit }: { limit: number }): Promise<undefined> {
  const runs = await readAll(limit, async (page) => {
    const { runs: items, nextPageToken } = await services.orchestrator.listRuns({ parent: project, ...page });
    return { items, nextPageToken };
  });
  if (json) runs.forEach((run) => sayJson(Run.toJSON(run)));
  else if (runs.length === 0) say("No runs yet. Start one: 'pairwise runs create -f run.yaml'.");
  else {
    const rows = runs.map((run) => [
      shortName(run.name, project),
      formatEnum(RunState, run.state),
      currentStage(run),
      run.spec === undefined ? '' : shortName(run.spec.datasetVersion, project),
      formatTime(run.createTime),
    ]);
    say(formatTable(['RUN', 'STATE', 'STAGE', 'DATASET', 'CREATED'], rows));
  }
  return undefined;
}

async function get(context: Context, text: string): Promise<undefined> {
  const { services, json, project } = context;
  const run = (await services.orchestrator.getRun({ name: nameOf(context, text) })).run!;
  if (json) {
    sayJson(Run.toJSON(run));
    return undefined;
  }
  const pairs = [
    ['run', shortName(run.name, project)],
    ['state', formatEnum(RunState, run.state)],
    ['error', run.error === undefined ? '' : paint('red', failureOf(run.error).message)],
    ['dataset', run.spec === undefined ? '' : shortName(run.spec.datasetVersion, project)],
    ['base quantisation', runQuantization(run)],
    ['attempt', String(run.attempt)],
    ['created', formatTime(run.createTime)],
    ['ended', formatTime(run.endTime)],
    ['memory', run.outputs?.trainingMemory === undefined ? '' : trainedMemory(run.outputs.trainingMemory)],
    ['trace', run.traceId],
  ] as const;
  say(fields(pairs));
  const rows = run.stages.map((stage) => [
    stage.name,
    formatEnum(StageState, stage.state),
    progressText(stage),
    stage.startTime && stage.endTime ? formatSeconds((stage.endTime.getTime() - stage.startTime.getTime()) / 1000) : '',
  ]);
  say(`\n${formatTable(['STAGE', 'STATE', 'PROGRESS', 'TOOK'], rows)}`);
  const pairsText = pairsSummary(run.outputs);
  if (pairsText !== '') say(`\n${pairsText}`);
  if (run.outputs !== undefined && run.outputs.artifacts.length > 0) say(`\n${artifactTable(run.outputs.artifacts)}`);
  return undefined;
}

/** What the worker that trains was planned to take, and what it took. */
function trainedMemory(memory: WorkerMemory): string {
  const measured = memory.measuredBytes > 0n ? `${formatBytes(memory.measuredBytes)} measured, ` : '';
  return `${measured}planned ${memoryText(memory)}`;
}

async function cancel(context: Context, text: string): Promise<undefined> {
  const { services, json, project } = context;
  const request = { name: nameOf(context, text), requestId: randomUUID() };
  const run = (await services.orchestrator.cancelRun(request)).run!;
  if (json) sayJson(Run.toJSON(run));
  else say(`${shortName(run.name, project)} is ${formatEnum(RunState, run.state)}`);
  return undefined;
}

async function retry(context: Context, text: string, { watch: watched }: { watch?: boolean }): Promise<number> {
  const request = { name: nameOf(context, text), requestId: randomUUID() };
  const run = await traced('runs retry', async () => (await context.services.orchestrator.retryRun(request)).run!);
  const message = `Continuing ${shortName(run.name, context.project)} (attempt ${run.attempt})`;
  return reportStarted(context, run, message, watched === true);
}

async function remove(context: Context, text: string): Promise<undefined> {
  const { services, json, project } = context;
  const name = nameOf(context, text);
  await services.orchestrator.deleteRun({ name, etag: '', requestId: randomUUID() });
  if (json) sayJson({});
  else say(`Deleted ${shortName(name, project)}`);
  return undefined;
}
