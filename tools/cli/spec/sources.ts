import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const hasScheme = (text: string) => /^[a-z][a-z0-9+.-]*:\/\//i.test(text);

/** The URI of a model that a user typed. A path, relative to `folder`, becomes `file://` with an absolute path. */
export function modelUri(text: string, folder: string): string {
  if (hasScheme(text)) return text;
  const path = text === '~' || text.startsWith('~/') ? join(homedir(), text.slice(1)) : text;
  return pathToFileURL(isAbsolute(path) ? path : resolve(folder, path)).href;
}
