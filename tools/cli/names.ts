import { usage } from './exit.ts';

const label = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** The resource name for what a user calls a dataset, a model or a run: its id, or its whole name. */
export function resourceName(collection: 'datasets' | 'models' | 'runs', text: string, project: string): string {
  const [first, , third, id, ...more] = text.split('/');
  if (first === 'projects' && third === collection && id !== undefined && more.length === 0) return text;
  if (label.test(text)) return `${project}/${collection}/${text}`;
  const one = collection.slice(0, -1);
  return usage(`'${text}' names no ${one}; give its id (a-z, 0-9 and -) or projects/<project>/${collection}/<${one}>`);
}

/** The resource name for a dataset version: `concise/3`, `concise/versions/3` or the whole name; else undefined. */
export function versionName(text: string, project: string): string | undefined {
  const [, dataset, number] = /^([a-z0-9-]+)\/(?:versions\/)?(\d+)$/.exec(text) ?? [];
  if (dataset !== undefined && number !== undefined) return `${project}/datasets/${dataset}/versions/${number}`;
  return /^projects\/[^/]+\/datasets\/[^/]+\/versions\/\d+$/.test(text) ? text : undefined;
}

/** The shortest text by which a user can call a resource: `run-1a2b`, `concise/3`. */
export function shortName(name: string, project: string): string {
  const [, , , id, , number] = name.split('/');
  if (!name.startsWith(`${project}/`) || id === undefined) return name;
  return number === undefined ? id : `${id}/${number}`;
}
