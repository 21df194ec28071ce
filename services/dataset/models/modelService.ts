import {
  Model,
  ModelServiceService,
  ModelState,
  type InspectModelRequest,
  type InspectModelResponse,
} from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { ModelFolder } from '@pairwise/safetensors';
import { byName, inField, parseName, readPage, service, type Service } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { ensureQuantization, type EnsureQuantizationDeps } from './ensureQuantization.ts';
import { inspectFolder, inspectionOf } from './inspect.ts';
import { deleteModel, folderOf, modelPattern, type DeleteModelDeps } from './models.ts';
import { locationOf, openSource } from './modelSource.ts';
import { startImport, type StartImportDeps } from './startImport.ts';

export interface ModelServiceDeps extends StartImportDeps, EnsureQuantizationDeps, DeleteModelDeps {
  blobs: BlobStore;
}

/** ModelService; `proto/pairwise/v1/model.proto` documents each method. */
export function modelService(deps: ModelServiceDeps): Service {
  const { models } = deps;
  return service(ModelServiceService, {
    importModel: async (request, { signal }) => ({ model: await startImport(deps, request, signal) }),
    inspectModel: (request, { signal }) => inspectModel(deps, request, signal),
    getModel: async ({ name }) => {
      parseName(modelPattern, name, 'name');
      return { model: (await models.get(name)).model };
    },
    listModels: async (request) => {
      const { parent } = request;
      parseName('projects/{project}', parent, 'parent');
      const read = async (limit: number, after: string) =>
        (await models.list(parent, limit, after)).map(({ model }) => model);
      const page = await readPage(request, byName('models', Model, read));
      return { models: page.items, nextPageToken: page.nextPageToken };
    },
    ensureQuantization: async (request) => ({ model: await ensureQuantization(deps, request) }),
    deleteModel: async (request) => {
      await deleteModel(deps, request);
      return {};
    },
  });
}

async function inspectModel(
  deps: ModelServiceDeps,
  { parent, source }: InspectModelRequest,
  signal: AbortSignal,
): Promise<InspectModelResponse> {
  parseName('projects/{project}', parent, 'parent');
  if (source?.source?.$case === 'model') return inspectFolder(await importedFolder(deps, source.source.value), signal);
  const location = locationOf(source);
  let folder: ModelFolder;
  try {
    folder = (await openSource(deps.sources, location)).opened;
  } catch (error) {
    return inspectionOf(error);
  }
  return inspectFolder(folder, signal);
}

async function importedFolder({ blobs, models }: ModelServiceDeps, name: string): Promise<ModelFolder> {
  parseName(modelPattern, name, 'source.model');
  const { model } = await inField('source.model', models.get(name));
  if (model.state === ModelState.READY) return folderOf(model, blobs);
  throw new PairwiseError('WRONG_STATE', `source.model: '${name}' is not ready`, { field: 'source.model' });
}
