import { usage } from './exit.ts';

const label = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** Resource name for what a user typed for a dataset, model or run: an id or a full resource name. */
export function resourceName(collection: 'datasets' | 'models' | 'runs', text: string, project: string): string {
  const [first, , third, id, ...more] = text.split('/');
  if (first === 'projects' && third === collection && id !== undefined && more.length === 0) return text;
  if (label.test(text)) return `${project}/${collection}/${text}`;
  const kind = collection.slice(0, -1);
  const accepted = `an id (a-z, 0-9 and -) or projects/<project>/${collection}/<${kind}>`;
  return usage(`'${text}' is not a valid ${kind} name; use ${accepted}`);
}

/** Resource name of a dataset version from `concise/3`, `concise/versions/3` or its full name; otherwise undefined. */
export function versionName(text: string, project: string): string | undefined {
  const [, dataset, number] = /^([a-z0-9-]+)\/(?:versions\/)?(\d+)$/.exec(text) ?? [];
  if (dataset !== undefined && number !== undefined) return `${project}/datasets/${dataset}/versions/${number}`;
  return /^projects\/[^/]+\/datasets\/[^/]+\/versions\/\d+$/.test(text) ? text : undefined;
}

/** The shortest name that a user can type for a resource: `run-1a2b`, `concise/3`. */
export function shortName(name: string, project: string): string {
  const [, , , id, , number] = name.split('/');
  if (!name.startsWith(`${project}/`) || id === undefined) return name;
  return number === undefined ? id : `${id}/${number}`;
}
