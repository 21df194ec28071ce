import { Dataset, DatasetServiceService, DatasetVersion, Encoding, Import } from '@pairwise/api';
import type { Database } from '@pairwise/database';
import { byName, inField, parseName, readPage, service, type Service } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { openActiveUploads } from './pairs/activeUploads.ts';
import { createDataset, datasetPattern, type Datasets } from './pairs/datasets.ts';
import { deleteDataset } from './pairs/deleteDataset.ts';
import { openEncoder } from './encodings/encoder.ts';
import { encodingPattern, type Encodings } from './encodings/encodings.ts';
import type { Imports } from './pairs/imports.ts';
import type { Models } from './models/models.ts';
import { openSealer } from './pairs/seal.ts';
import type { Staging } from './pairs/staging.ts';
import { importPairs } from './pairs/upload.ts';
import { readPairs, versionPattern, type Versions } from './pairs/versions.ts';

export interface DatasetServiceDeps {
  database: Database;
  blobs: BlobStore;
  staging: Staging;
  datasets: Datasets;
  imports: Imports;
  versions: Versions;
  encodings: Encodings;
  models: Models;
}

/** DatasetService; `proto/pairwise/v1/dataset.proto` documents each method. */
export function datasetService(deps: DatasetServiceDeps): Service {
  const { blobs, datasets, encodings, imports, staging, versions } = deps;
  const uploadDeps = { imports, staging, uploads: openActiveUploads() };
  const seal = openSealer(deps);
  const encode = openEncoder(deps);
  return service(DatasetServiceService, {
    createDataset: async (request) => ({ dataset: await createDataset(deps, request) }),
    getDataset: async ({ name }) => ({ dataset: await datasets.get(named(datasetPattern, name)) }),
    listDatasets: async (request) => {
      named('projects/{project}', request.parent, 'parent');
      const page = await readPage(
        request,
        byName('datasets', Dataset, (limit, after) => datasets.list(request.parent, limit, after)),
      );
      return { datasets: page.items, nextPageToken: page.nextPageToken };
    },
    deleteDataset: async (request) => {
      await deleteDataset(deps, request);
      return {};
    },
    importPairs: async (requests) => ({ import: await importPairs(uploadDeps, requests) }),
    getImport: async ({ name }) => ({ import: await imports.get(named(`${datasetPattern}/imports/{import}`, name)) }),
    listImports: async (request) => {
      await inField('parent', datasets.get(named(datasetPattern, request.parent, 'parent')));
      const read = (limit: number, after: string) => imports.list(request.parent, limit, after);
      const page = await readPage(request, byName('imports', Import, read));
      return { imports: page.items, nextPageToken: page.nextPageToken };
    },
    sealVersion: async (request) => ({ version: await seal(request) }),
    getDatasetVersion: async ({ name }) => ({ version: await versions.get(named(versionPattern, name)) }),
    listDatasetVersions: async (request) => {
      await inField('parent', datasets.get(named(datasetPattern, request.parent, 'parent')));
      const page = await readPage(
        request,
        byName('versions', DatasetVersion, (limit, after) => versions.list(request.parent, limit, after)),
      );
      return { versions: page.items, nextPageToken: page.nextPageToken };
    },
    readPairs: async function* (request) {
      yield* readPairs(blobs, await versions.get(named(versionPattern, request.name)), request);
    },
    encodeVersion: async (request, { signal }) => ({ encoding: await encode(request, signal) }),
    getEncoding: async ({ name }) => ({ encoding: await encodings.get(named(encodingPattern, name)) }),
    listEncodings: async (request) => {
      named(versionPattern, request.parent, 'parent');
      const read = (limit: number, after: string) => encodings.list(request.parent, limit, after);
      const page = await readPage(request, byName('encodings', Encoding, read));
      return { encodings: page.items, nextPageToken: page.nextPageToken };
    },
  });
}

function named(pattern: string, name: string, field = 'name'): string {
  parseName(pattern, name, field);
  return name;
}
