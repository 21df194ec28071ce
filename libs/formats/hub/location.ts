import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PairwiseError } from '@pairwise/errors';

/** A repository on the hub at a branch, tag or commit. */
export interface RepositoryLocation {
  kind: 'repository';
  /** `organisation/name` */
  repoId: string;
  revision: string;
}

/** A folder on this machine, by its absolute path. */
export interface FolderLocation {
  kind: 'folder';
  path: string;
}

export type ModelLocation = RepositoryLocation | FolderLocation;

/**
 * Where a model is: an absolute path, `file:///absolute/path` or `hf://organisation/name[@revision]` (default `main`).
 * `field` is the path of the request's field. Throws INVALID_ARGUMENT.
 */
export function parseModelUri(uri: string, field: string): ModelLocation {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(uri)?.[1]?.toLowerCase();
  if (scheme === 'hf') {
    const [, repoId = '', revision] = /^hf:\/\/([^@]*)(?:@(.*))?$/i.exec(uri) ?? [];
    return repositoryLocation(repoId, revision, field);
  }
  if (scheme === 'file') return folderLocation(pathOf(uri, field), field);
  if (scheme === undefined) return folderLocation(uri, field);
  throw refuse(field, `has the scheme ${scheme}://; it must be hf://organisation/name@revision or file:///folder`);
}

/** A repository on the hub; `revision` defaults to `main`. Throws INVALID_ARGUMENT for names that the hub does not allow. */
export function repositoryLocation(repoId: string, revision = 'main', field: string): RepositoryLocation {
  const names = repoId.split('/');
  if (names.length !== 2 || !names.every(isRepositoryName)) {
    throw refuse(field, 'does not name a repository; it must be organisation/name');
  }
  // The revision becomes a part of URLs and of paths in the cache.
  if (!/^\w[\w.+/-]{0,199}$/.test(revision) || /\.\.|\/\/|\/\.|\/$|\.lock$/.test(revision)) {
    throw refuse(field, 'does not name a revision; it must be a branch, a tag or a commit');
  }
  return { kind: 'repository', repoId, revision };
}

/** The hub's own rule; `--` stands for the slash in the names of cache folders. */
function isRepositoryName(name: string): boolean {
  return /^[\w.-]{1,96}$/.test(name) && !/--|\.\.|^[.-]|[.-]$/.test(name);
}

function folderLocation(path: string, field: string): FolderLocation {
  if (path.includes('\0')) throw refuse(field, 'contains a NUL character');
  if (!isAbsolute(path)) throw refuse(field, 'is not an absolute path; the server does not know your working folder');
  return { kind: 'folder', path: resolve(path) };
}

function pathOf(uri: string, field: string): string {
  try {
    return fileURLToPath(uri);
  } catch {
    throw refuse(field, 'is not of the form file:///absolute/path');
  }
}

function refuse(field: string, problem: string): PairwiseError {
  return new PairwiseError('INVALID_ARGUMENT', `${field} ${problem}`, { field });
}
