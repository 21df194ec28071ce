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

/** How this process reaches models outside. */
export interface Outside {
  hub: HubOptions;
  /** Folders below which `file://` may be read. */
  roots: readonly string[];
}

/** A model outside, opened, with what tells its present content apart. */
export interface OpenedSource {
  opened: OpenedModel;
  /** The location, at the commit that was found. */
  location: ModelLocation;
  /** The same as long as the files are: of repository and commit, or of the folder's names, sizes and times. */
  signature: Digest;
}

/** Where a source lies. Throws INVALID_ARGUMENT for what is not set, and for a model, which lies here already. */
export function locationOf(source: ModelSource | undefined): ModelLocation {
  const given = source?.source;
  if (given?.$case === 'hub') {
    return repositoryLocation(given.value.repoId, given.value.revision, 'source.hub');
  }
  if (given?.$case === 'uri') return parseModelUri(given.value, 'source.uri');
  const problem = given === undefined ? 'is not set' : 'is a model that is imported already';
  throw new PairwiseError('INVALID_ARGUMENT', `source ${problem}; give hub or uri`, { field: 'source' });
}

/** Opens a model outside. Throws as `openModel` of libs/formats/hub does. */
export async function openSource({ hub, roots }: Outside, location: ModelLocation): Promise<OpenedSource> {
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
