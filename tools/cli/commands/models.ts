import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { InspectModelResponse, Model, ModelSource, ModelState } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { Command } from 'commander';
import { type Context, action } from '../context.ts';
import { exitCodes, failureOf } from '../exit.ts';
import { resourceName, shortName } from '../names.ts';
import {
  fields,
  formatBytes,
  formatCount,
  formatEnum,
  formatTime,
  paint,
  say,
  sayJson,
  formatTable,
} from '../output.ts';
import { readAll } from '../paging.ts';
import { type Meter, byteMeter } from '../progress.ts';
import { modelQuantizations } from '../quantization.ts';
import { modelUri } from '../spec/sources.ts';
import { limitOption } from './options.ts';

const pollMs = 300;

const sourceHelp = `
A source is a folder in Hugging Face layout (config.json, tokenizer.json, *.safetensors), or a repository on the hub as
hf://organisation/name@revision. The server reads only folders below its PAIRWISE_MODEL_ROOTS.
`;

/** `pairwise models ...`. */
export function modelsCommand(): Command {
  const models = new Command('models').description('import and inspect base models');
  models
    .command('import')
    .description('import a model and wait until it is ready')
    .argument('<source>', 'folder, or hf://organisation/name@revision')
    .option('--id <id>', 'id of the model; default: chosen by the server')
    .addHelpText(
      'after',
      `${sourceHelp}
Examples:
  $ pairwise models import ./SmolLM2-135M-Instruct --id smollm2
  $ pairwise models import hf://HuggingFaceTB/SmolLM2-135M-Instruct@main`,
    )
    .action(action(importModel));
  models
    .command('inspect')
    .description('show what a model is and whether it can be trained, without importing it')
    .argument('<source>', 'folder, hf://organisation/name@revision, or id of an imported model')
    .addHelpText(
      'after',
      `${sourceHelp}
The exit code is 1 if the model cannot be trained.

Example:
  $ pairwise models inspect ./SmolLM2-135M-Instruct`,
    )
    .action(action(inspect));
  models.command('list').description('list models, newest first').addOption(limitOption()).action(action(list));
  return models;
}

const uriSource = (text: string) =>
  ModelSource.create({ source: { $case: 'uri', value: modelUri(text, process.cwd()) } });

async function importModel(context: Context, text: string, { id = '' }: { id?: string }): Promise<number> {
  const { services, json, project, interrupted } = context;
  const request = {
    parent: project,
    modelId: id,
    source: uriSource(text),
    requestId: randomUUID(),
    validateOnly: false,
  };
  const { model: started } = await services.model.importModel(request);
  const model = await followImport(context, started!);
  if (model === undefined) {
    process.stderr.write(`\nThe import continues; see 'pairwise models list'.\n`);
    return exitCodes.detached;
  }
  interrupted.throwIfAborted();
  if (json) sayJson(Model.toJSON(model));
  if (model.state === ModelState.FAILED) throw failureOf(model.error);
  if (!json) printModel(model, project);
  return exitCodes.succeeded;
}

/** Follows an import to its end. Undefined if the user interrupted. */
async function followImport({ services, interrupted }: Context, started: Model): Promise<Model | undefined> {
  let model = started;
  let meter: Meter | undefined;
  try {
    while (model.state === ModelState.IMPORTING) {
      if (meter === undefined && model.totalSizeBytes > 0n) {
        meter = byteMeter(model.repoId === '' ? 'importing' : model.repoId, Number(model.totalSizeBytes));
      }
      meter?.update(Number(model.receivedSizeBytes));
      await sleep(pollMs, undefined, { signal: interrupted });
      model = (await services.model.getModel({ name: model.name })).model!;
    }
  } catch (error) {
    if (interrupted.aborted) return undefined;
    throw error;
  } finally {
    meter?.stop();
  }
  return model;
}

function printModel(model: Model, project: string): void {
  say(`${paint('green', '✔')} ${shortName(model.name, project)}`);
  const size = model.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
  const pairs = [
    ['name', model.name],
    ['architecture', model.architecture],
    ['parameters', formatCount(model.parameterCount)],
    ['dtype', model.dtype],
    ['context length', `${formatCount(model.maxLength)} tokens`],
    ['vocabulary', formatCount(model.vocabularySize)],
    ['files', `${model.files.length}, ${formatBytes(size)}`],
    ['quantisations', modelQuantizations(model.quantizations)],
    ['commit', model.commit],
    ['digest', model.digest],
  ] as const;
  say(fields(pairs));
  sayWarnings(model.warnings);
}

function sayWarnings(warnings: readonly string[]): void {
  for (const warning of warnings) say(`  ${paint('yellow', '!')} ${warning}`);
}

async function inspect({ services, json, project }: Context, text: string): Promise<number> {
  const source = await sourceOf(services, text, project);
  const found = await services.model.inspectModel({ parent: project, source });
  const code = found.supported ? exitCodes.succeeded : exitCodes.failed;
  if (json) {
    sayJson(InspectModelResponse.toJSON(found));
    return code;
  }
  const imported =
    source.source?.$case === 'model' ? (await services.model.getModel({ name: source.source.value })).model : undefined;
  const pairs = [
    ['architecture', found.architecture],
    ['parameters', found.parameterCount === 0n ? '' : formatCount(found.parameterCount)],
    ['dtype', found.dtype],
    ['context length', found.maxLength === 0 ? '' : `${formatCount(found.maxLength)} tokens`],
    ['vocabulary', found.vocabularySize === 0 ? '' : formatCount(found.vocabularySize)],
    ['size', found.totalSizeBytes === 0n ? '' : formatBytes(found.totalSizeBytes)],
    ['chat template', found.hasChatTemplate ? 'yes' : 'no'],
    ['quantisations', modelQuantizations(imported?.quantizations ?? [])],
    ['can be trained', found.supported ? paint('green', 'yes') : paint('red', 'no')],
    ['GGUF export', !found.supported ? '' : found.ggufObstacles.length === 0 ? 'yes' : paint('yellow', 'no')],
  ] as const;
  say(fields(pairs));
  for (const obstacle of found.obstacles) say(`  ${paint('red', '✖')} ${obstacle.message}`);
  sayWarnings([...found.ggufObstacles.map(({ message }) => message), ...found.warnings]);
  return code;
}

/** The source that a user typed: an imported model if there is one of this id, otherwise a folder or repository. */
async function sourceOf(services: Context['services'], text: string, project: string): Promise<ModelSource> {
  if (!/^(projects\/[^/]+\/models\/)?[a-z0-9-]+$/.test(text)) return uriSource(text);
  const name = resourceName('models', text, project);
  try {
    await services.model.getModel({ name });
    return ModelSource.create({ source: { $case: 'model', value: name } });
  } catch (error) {
    const missing = error instanceof PairwiseError && error.reason === 'NOT_FOUND';
    // It may also be a folder.
    if (missing && existsSync(text)) return uriSource(text);
    throw error;
  }
}

async function list({ services, json, project }: Context, { limit }: { limit: number }): Promise<undefined> {
  const models = await readAll(limit, async (page) => {
    const { models: items, nextPageToken } = await services.model.listModels({ parent: project, ...page });
    return { items, nextPageToken };
  });
  if (json) models.forEach((model) => sayJson(Model.toJSON(model)));
  else if (models.length === 0) say("No models yet. Import one: 'pairwise models import <folder>'.");
  else {
    const rows = models.map((model) => [
      shortName(model.name, project),
      formatEnum(ModelState, model.state),
      model.architecture,
      formatCount(model.parameterCount),
      model.dtype,
      formatTime(model.createTime),
    ]);
    say(formatTable(['MODEL', 'STATE', 'ARCHITECTURE', 'PARAMETERS', 'DTYPE', 'CREATED'], rows));
  }
  return undefined;
}
