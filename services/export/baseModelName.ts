import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Model } from '@pairwise/api';

/** How an artifact refers to its base model. */
export interface BaseModelName {
  /** The hub repository, or the name of the folder from which the model was imported. */
  name: string;
  /** Hub commit. Undefined for a model that does not come from the hub. */
  revision: string | undefined;
}

/**
 * The name by which PEFT, transformers and vLLM can find a base model. The hub's cache is a folder too, but its path says
 * which repository and commit it holds.
 */
export function baseModelNameOf({
  repoId,
  commit,
  source,
}: Pick<Model, 'repoId' | 'commit' | 'source'>): BaseModelName {
  if (repoId !== '') return { name: repoId, revision: commit };
  const uri = source?.source?.$case === 'uri' ? source.source.value : '';
  const path = /^file:/i.test(uri) ? fileURLToPath(uri) : uri;
  const [, repository, revision] = /\/models--([^/]+)\/snapshots\/([0-9a-f]{40})\/*$/.exec(path) ?? [];
  if (repository !== undefined) return { name: repository.replace('--', '/'), revision };
  return { name: basename(path), revision: undefined };
}
