import { openModelFolder } from './folder.ts';
import type { ModelLocation } from './location.ts';
import type { OpenedModel } from './opened.ts';
import { openRepository } from './repository.ts';
import type { HubOptions } from './request.ts';

export { openModelFolder } from './folder.ts';
export {
  parseModelUri,
  repositoryLocation,
  type FolderLocation,
  type ModelLocation,
  type RepositoryLocation,
} from './location.ts';
export type { DownloadOptions, LocalModel, ModelFile, OpenedModel } from './opened.ts';
export { pushFiles, type Pushed, type PushOptions } from './push.ts';
export type { PushFile, PushTarget } from './pushFile.ts';
export { openRepository } from './repository.ts';
export type { HubAccess, HubOptions } from './request.ts';

/** Opens a model in a folder below one of `roots`, or on the hub. Throws as `openModelFolder` and `openRepository`. */
export function openModel(location: ModelLocation, hub: HubOptions, roots: readonly string[]): Promise<OpenedModel> {
  return location.kind === 'folder' ? openModelFolder(location.path, roots) : openRepository(hub, location);
}
