import { ModelServiceService, ModelState, type InspectModelRequest, type InspectModelResponse } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import { storedFolder } from '@pairwise/model';
import type { ModelFolder } from '@pairwise/safetensors';
import { inField, parseName, readPage, service, type Service } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { inspectFolder, inspectionOf } from './inspect.ts';
import { deleteModel, importModel, modelPattern, type ModelImporting } from './models.ts';
import { locationOf, openSource } from './modelSource.ts';

/** What the handlers work with. */
export interface ModelParts extends ModelImporting {
  blobs: BlobStore;
}

/** ModelService; `proto/pairwise/v1/model.proto` documents each method. */
export function modelService(parts: ModelParts): Service {
  const { models } = parts;
  return service(ModelServiceService, {
    importModel: async (request, { signal }) => ({ model: await importModel(parts, request, signal) }),
    inspectModel: (request, { signal }) => inspectModel(parts, request, signal),
    getModel: async ({ name }) => {
      parseName(modelPattern, name, 'name');
      return { model: (await models.get(name)).model };
    },
    listModels: async (request) => {
      parseName('projects/{project}', request.parent, 'parent');
      const page = await readPage(request, (limit, offset) => models.list(request.parent, limit, offset));
      return { models: page.items.map(({ model }) => model), nextPageToken: page.nextPageToken };
    },
    deleteModel: async (request) => {
      await deleteModel(parts, request);
      return {};
    },
  });
}

async function inspectModel(
  parts: ModelParts,
  { parent, source }: InspectModelRequest,
  signal: AbortSignal,
): Promise<InspectModelResponse> {
  parseName('projects/{project}', parent, 'parent');
  if (source?.source?.$case === 'model') return inspectFolder(await importedFolder(parts, source.source.value), signal);
  const location = locationOf(source);
  let folder: ModelFolder;
  try {
    folder = (await openSource(parts.outside, location)).opened;
  } catch (error) {
    return inspectionOf(error);
  }
  return inspectFolder(folder, signal);
}

async function importedFolder({ blobs, models }: ModelParts, name: string): Promise<ModelFolder> {
  parseName(modelPattern, name, 'source.model');
  const { model } = await inField('source.model', models.get(name));
  if (model.state === ModelState.READY) {
    return storedFolder(
      model.files.map((file) => ({ ...file, digest: file.digest as Digest })),
      blobs,
    );
  }
  throw new PairwiseError('WRONG_STATE', `source.model: '${name}' is not ready`, { field: 'source.model' });
}
