import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DatasetServiceService,
  ImportPolicy,
  ModelServiceService,
  ModelState,
  type Dataset,
  type DatasetVersion,
  type Import,
  type ImportPairsRequest,
  type Model,
  type ModelSource,
} from '@pairwise/api';
import { migrate, openDatabase, type Database } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable } from '@pairwise/durable';
import { digestOf } from '@pairwise/fingerprint';
import { openClient, startServer, type Client } from '@pairwise/rpc';
import { openFolder, type BlobStore } from '@pairwise/store';
import { setTimeout as sleep } from 'node:timers/promises';
import { importModel, importModelWork } from './models/importModel.ts';
import { openDatasets } from './pairs/datasets.ts';
import { openEncodings } from './encodings/encodings.ts';
import { openImports } from './pairs/imports.ts';
import { migrations } from './migrations.ts';
import { openModels } from './models/models.ts';
import { modelService } from './models/modelService.ts';
import { quantizeModel } from './models/quantizeModel.ts';
import { quantizeModelWork, quantizeWorkId } from './models/quantizeWork.ts';
import type { SourceOptions } from './models/modelSource.ts';
import { datasetService } from './service.ts';
import { openStaging } from './pairs/staging.ts';
import { openVersions } from './pairs/versions.ts';

export const parent = 'projects/default';

/** The calls that most specs need, each returning its resource. */
interface Calls {
  create(datasetId: string): Promise<Dataset>;
  upload(name: string, file: string | Buffer, options?: UploadOptions): Promise<Import>;
  seal(name: string, requestId?: string): Promise<DatasetVersion>;
  importModel(source: ModelSource, modelId?: string): Promise<Model>;
  /** Waits until the import of a model has ended. */
  imported(name: string): Promise<Model>;
}

/** The service for specs, on a real Postgres and a real socket. */
export interface TestService extends Calls {
  /** Starts importing models, if the service was started with `launched` set to false. */
  launch(): Promise<void>;
  /** Models must be inside this folder. */
  folder: string;
  database: Database;
  blobs: BlobStore;
  dataset: DatasetClient;
  model: ModelClient;
  /** The staging folder of uploads. */
  staged: string;
  stop(): Promise<void>;
}

type DatasetClient = Client<typeof DatasetServiceService>;
type ModelClient = Client<typeof ModelServiceService>;

/** If `launched` is false, imports of models wait until `launch` is called. Start one service per process. */
export async function startTestService(hub: Partial<SourceOptions['hub']> = {}, launched = true): Promise<TestService> {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-dataset-'));
  const { url } = await testDatabase();
  const database = openDatabase({ url, schema: 'dataset' });
  await migrate(database, migrations);
  const blobs = await openFolder(join(folder, 'blobs'));
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: console.error };
  const durable = await startDurable({ url, schema: 'dataset', log });
  const staging = await openStaging(join(folder, 'imports'));
  const datasets = openDatasets(database);
  const imports = openImports(database, datasets, staging);
  const [versions, encodings, models] = [openVersions(database), openEncodings(database), openModels(database)];
  const defaults = { endpoint: 'http://127.0.0.1:1', home: join(folder, 'hub'), offline: false };
  const sources: SourceOptions = { hub: { ...defaults, ...hub }, roots: [folder] };
  durable.execute(importModelWork, (input, attempt) => importModel({ blobs, models, sources }, input, attempt));
  durable.execute(quantizeModelWork, (input, attempt) => quantizeModel({ blobs, models }, input, attempt));
  const launch = () => durable.launch({ [importModelWork.queue]: 2 });
  if (launched) await launch();
  const server = await startServer({
    address: '127.0.0.1:0',
    log,
    services: [
      datasetService({ database, blobs, staging, datasets, imports, versions, encodings, models }),
      modelService({
        database,
        blobs,
        models,
        sources,
        enqueue: (name, { location }, tx) => durable.enqueue(importModelWork, name, { name, location }, tx),
        enqueueQuantization: (input, tx) => durable.enqueue(quantizeModelWork, quantizeWorkId(input), input, tx),
        cancel: (id, tx) => durable.cancel(id, tx),
      }),
    ],
  });
  const dataset = openClient(DatasetServiceService, server);
  const model = openClient(ModelServiceService, server);

  return {
    launch,
    folder,
    database,
    blobs,
    dataset,
    model,
    staged: join(folder, 'imports'),
    ...callsOf(dataset, model),
    async stop() {
      dataset.close();
      model.close();
      await server.drain();
      await durable.stop();
      await database.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function callsOf(dataset: DatasetClient, model: ModelClient): Calls {
  return {
    create: async (datasetId) =>
      (await dataset.createDataset({ parent, datasetId, requestId: '', validateOnly: false })).dataset!,
    upload: async (name, file, options) =>
      (await dataset.importPairs(uploadOf(name, Buffer.from(file), options))).import!,
    seal: async (name, requestId = '') => (await dataset.sealVersion({ parent: name, requestId })).version!,
    importModel: async (source, modelId = '') =>
      (await model.importModel({ parent, modelId, source, requestId: '', validateOnly: false })).model!,
    async imported(name) {
      for (;;) {
        const { model: found } = await model.getModel({ name });
        if (found!.state !== ModelState.IMPORTING) return found!;
        await sleep(20);
      }
    },
  };
}

export interface UploadOptions {
  importId?: string;
  policy?: ImportPolicy;
  /** Position of the first byte to send. */
  from?: number;
  /** Position at which the stream breaks off. */
  breakAt?: number;
  /** A wrong digest to send in `finish`. */
  digest?: string;
}

export async function* uploadOf(
  name: string,
  file: Buffer,
  { importId = 'file', policy = ImportPolicy.UNSPECIFIED, from = 0, breakAt, digest }: UploadOptions = {},
): AsyncGenerator<ImportPairsRequest> {
  const header = { parent: name, importId, offsetBytes: BigInt(from), policy };
  yield { payload: { $case: 'header', value: header } };
  const end = breakAt ?? file.length;
  for (let at = from; at < end; at += 65_536) {
    yield await Promise.resolve<ImportPairsRequest>({
      payload: { $case: 'chunk', value: file.subarray(at, Math.min(end, at + 65_536)) },
    });
  }
  if (breakAt === undefined) yield { payload: { $case: 'finish', value: { digest: digest ?? digestOf(file) } } };
}

export function jsonl(...rows: unknown[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}

/** A row whose texts contain its number. */
export function row(number: number) {
  return { prompt: `question ${number}?`, chosen: ` yes ${number}`, rejected: ` no ${number}` };
}
