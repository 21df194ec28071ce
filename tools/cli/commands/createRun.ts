import { randomUUID } from 'node:crypto';
import { Run, RunSpec } from '@pairwise/api';
import { stringify } from 'yaml';
import type { Context } from '../context.ts';
import { exitCodes, usage } from '../exit.ts';
import { shortName } from '../names.ts';
import { paint, say, sayJson } from '../output.ts';
import { readSpec } from '../spec/read.ts';
import { traced } from '../traced.ts';
import { watchUntilEnd } from '../watch/watch.ts';
import { estimateText } from './estimate.ts';

export const createHelp = `
The spec is the proto JSON of pairwise.v1.RunSpec, in snake_case or camelCase. Names follow TRL where TRL has them:

  model: { uri: ./SmolLM2-135M-Instruct }    # or hub: { repo_id: ... }, or model: <id of an imported model>
  dataset_version: concise/1
  eval_fraction: 0.1
  training:
    beta: 0.1
    learning_rate: 1e-5
    lora: { r: 16, target_modules: [all-linear] }
  export_targets:
    - gguf: { type: Q4_K_M }

Paths in the file are relative to the file; paths in --set to the working folder. --set takes a field of training
by its bare name.

Examples:
  $ pairwise runs create -f run.yaml --watch
  $ pairwise runs create -f run.yaml --set beta=0.05 --set training.lora.r=8
  $ pairwise runs create -f run.yaml --validate-only`;

interface CreateOptions {
  file?: string;
  set?: string[];
  id?: string;
  watch?: boolean;
  validateOnly?: boolean;
}

/** `pairwise runs create`. */
export async function createRunFromSpec(context: Context, options: CreateOptions): Promise<number> {
  const { services, json, project } = context;
  const { file, set = [], id = '', validateOnly = false } = options;
  if (file === undefined && set.length === 0) usage('give the spec with --file, or its fields with --set');
  const spec = await readSpec(file, set, project);
  const request = { parent: project, runId: id, spec, requestId: randomUUID(), validateOnly };
  const { run: created, estimate } = await traced('runs create', () => services.orchestrator.createRun(request));
  const run = created!;
  if (validateOnly) {
    if (json) {
      sayJson(Run.toJSON(run));
      return exitCodes.succeeded;
    }
    printResolved(run.resolvedSpec!);
    if (estimate !== undefined) say(`\n${estimateText(estimate)}`);
    return exitCodes.succeeded;
  }
  return reportStarted(context, run, `Started ${shortName(run.name, project)}`, options.watch === true);
}

function printResolved(spec: RunSpec): void {
  say(paint('dim', '# The spec is valid. With all defaults:'));
  say(stringify(snakeCase(RunSpec.toJSON(spec))).trimEnd());
}

/** Proto JSON with the field names of the proto, as people write specs. */
function snakeCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCase);
  if (typeof value !== 'object' || value === null) return value;
  const name = (key: string) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [name(key), snakeCase(each)]));
}

/** Prints that a run has started, and watches it if asked to. */
export async function reportStarted(context: Context, run: Run, message: string, watched: boolean): Promise<number> {
  if (context.json) sayJson(Run.toJSON(run));
  else if (watched) say(`${message}  ${paint('dim', `trace ${run.traceId}`)}`);
  else say(`${message}\n  pairwise runs watch ${shortName(run.name, context.project)}`);
  return watched ? watchUntilEnd(context, run.name) : exitCodes.succeeded;
}
