import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { RunSpec } from '@pairwise/api';
import { type Document, LineCounter, type Scalar, isMap, isNode, parseDocument } from 'yaml';
import { usage } from '../exit.ts';
import { versionName } from '../names.ts';
import { type JsonObject, type Problem, checkMessage, pathText } from './check.ts';
import { runSpec } from './schema.ts';
import { applySetting } from './set.ts';
import { modelUri } from './sources.ts';

/** Offset in the text of a value's key, or of the value itself if it is a list element. */
function offsetOf(document: Document, path: readonly (string | number)[]): number | undefined {
  const parent: unknown = path.length === 0 ? undefined : document.getIn(path.slice(0, -1), true);
  const pair = isMap<Scalar>(parent) ? parent.items.find(({ key }) => key.value === path.at(-1)) : undefined;
  const node = pair === undefined ? document.getIn(path, true) : pair.key;
  return isNode(node) ? node.range?.[0] : undefined;
}

/** Parses a YAML or JSON spec into proto JSON. Reports all problems at once; `file` is the name in the messages. */
export function parseSpec(text: string, file: string): JsonObject {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  if (document.errors.length > 0) usage(document.errors.map(({ message }) => `${file}: ${message}`).join('\n'));
  const problems: Problem[] = [];
  const spec = checkMessage(runSpec, document.toJS(), [], problems);
  if (problems.length === 0) return spec;
  const reported = problems.map(({ path, message }) => {
    const begin = offsetOf(document, path);
    const place = begin === undefined ? file : `${file}:${lines.linePos(begin).line}`;
    return `${place}: ${pathText(path)} ${message}`;
  });
  return usage(reported.join('\n'));
}

/** Expands short forms: model paths relative to `folder`, ids of models, and names of dataset versions. */
function expand(spec: JsonObject, folder: string, project: string): void {
  const model = spec['model'] as JsonObject | undefined;
  if (typeof model?.['uri'] === 'string') model['uri'] = modelUri(model['uri'], folder);
  if (typeof model?.['model'] === 'string' && !model['model'].includes('/')) {
    model['model'] = `${project}/models/${model['model']}`;
  }
  for (const field of ['datasetVersion', 'evalDatasetVersion']) {
    const name = spec[field];
    if (typeof name === 'string') spec[field] = versionName(name, project) ?? name;
  }
}

async function read(file: string): Promise<string> {
  if (file === '-') return readAll(process.stdin);
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    return usage(`--file: ${(error as Error).message}`);
  }
}

/**
 * Reads a run's spec, the proto JSON of RunSpec in snake_case or camelCase, from a YAML or JSON file (`-`: standard
 * input) and `--set` options. Paths are relative to the file's folder, in options to the working folder.
 * Unknown keys and wrong types are usage errors, with a line for each.
 */
export async function readSpec(
  file: string | undefined,
  settings: readonly string[],
  project: string,
): Promise<RunSpec> {
  const spec = file === undefined ? {} : parseSpec(await read(file), file === '-' ? 'standard input' : file);
  expand(spec, file === undefined || file === '-' ? process.cwd() : dirname(resolve(file)), project);
  for (const setting of settings) applySetting(spec, setting);
  expand(spec, process.cwd(), project);
  return RunSpec.fromJSON(spec);
}
