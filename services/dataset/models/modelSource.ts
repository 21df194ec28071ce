import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelSource } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { fingerprintOf, type Digest } from '@pairwise/fingerprint';
import {
  openModel,
  parseModelUri,
  repositoryLocation,
  type HubOptions,
  type ModelLocation,
  type OpenedModel,
} from '@pairwise/hub';

/** From where this process may read models. */
export interface SourceOptions {
  hub: HubOptions;
  /** Folders inside which `file://` sources are allowed. */
  roots: readonly string[];
}

/** The model at a source, opened for reading. */
export interface OpenedSource {
  opened: OpenedModel;
  /** Where the model is; a repository is pinned to its commit. */
  location: ModelLocation;
  /** Changes when the files change: depends on repository and commit, or on the folder's names, sizes and times. */
  signature: Digest;
}

/** Throws INVALID_ARGUMENT if no source is set, or if it is a model that is already imported. */
export function locationOf(source: ModelSource | undefined): ModelLocation {
  const given = source?.source;
  if (given?.$case === 'hub') {
    return repositoryLocation(given.value.repoId, given.value.revision, 'source.hub');
  }
  if (given?.$case === 'uri') return parseModelUri(given.value, 'source.uri');
  const problem = given === undefined ? 'is not set' : 'is a model that is already imported';
  throw new PairwiseError('INVALID_ARGUMENT', `source ${problem}; give hub or uri`, { field: 'source' });
}

/** Opens the model at a location. Throws what `openModel` throws. */
export async function openSource({ hub, roots }: SourceOptions, location: ModelLocation): Promise<OpenedSource> {
  const opened = await openModel(location, hub, roots);
  if (location.kind === 'repository') {
    const pinned = { ...location, revision: opened.commit! };
    return { opened, location: pinned, signature: fingerprintOf({ repoId: location.repoId, commit: opened.commit }) };
  }
  const files = opened.files.map(async ({ path, sizeBytes }) => {
    const { mtimeNs } = await stat(join(location.path, path), { bigint: true });
    return [path, sizeBytes, mtimeNs];
  });
  return { opened, location, signature: fingerprintOf({ folder: location.path, files: await Promise.all(files) }) };
}
