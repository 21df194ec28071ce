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
import { migrate, openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable } from '@pairwise/durable';
import { digestOf } from '@pairwise/fingerprint';
import { openClient, startServer } from '@pairwise/rpc';
import { openFolder } from '@pairwise/store';
import { setTimeout as sleep } from 'node:timers/promises';
import { bringIn, bringInWork } from './models/bringIn.ts';
import { openDatasets } from './pairs/datasets.ts';
import { openEncodings } from './encodings/encodings.ts';
import { openImports } from './pairs/imports.ts';
import { migrations } from './migrations.ts';
import { openModels } from './models/models.ts';
import { modelService } from './models/modelService.ts';
import type { Outside } from './models/modelSource.ts';
import { datasetService } from './service.ts';
import { openStaging } from './pairs/staging.ts';
import { openVersions } from './pairs/versions.ts';

export const parent = 'projects/default';

/**
 * For specs: the service on a real Postgres and a real socket, with clients. Models lie below `folder`. With `launched`
 * false, imports of models wait until `launch` is called. One in a process.
 */
export async function startTestService(hub: Partial<Outside['hub']> = {}, launched = true) {
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
  const outside: Outside = { hub: { ...defaults, ...hub }, roots: [folder] };
  durable.execute(bringInWork, (input, attempt) => bringIn({ blobs, models, outside }, input, attempt));
  const launch = () => durable.launch({ [bringInWork.queue]: 2 });
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
        outside,
        enqueue: (name, { location }, tx) => durable.enqueue(bringInWork, name, { name, location }, tx),
        cancel: (name, tx) => durable.cancel(name, tx),
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
    /** Names of the files that uploads have left. */
    staged: join(folder, 'imports'),
    create: async (datasetId: string): Promise<Dataset> =>
      (await dataset.createDataset({ parent, datasetId, requestId: '', validateOnly: false })).dataset!,
    async upload(name: string, file: string | Buffer, options: UploadOptions = {}): Promise<Import> {
      return (await dataset.importPairs(uploadOf(name, Buffer.from(file), options))).import!;
    },
    seal: async (name: string, requestId = ''): Promise<DatasetVersion> =>
      (await dataset.sealVersion({ parent: name, requestId })).version!,
    importModel: async (source: ModelSource, modelId = ''): Promise<Model> =>
      (await model.importModel({ parent, modelId, source, requestId: '', validateOnly: false })).model!,
    /** The model when its import has ended. */
    async imported(name: string): Promise<Model> {
      for (;;) {
        const { model: found } = await model.getModel({ name });
        if (found!.state !== ModelState.IMPORTING) return found!;
        await sleep(20);
      }
    },
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

export interface UploadOptions {
  importId?: string;
  policy?: ImportPolicy;
  /** First byte that is sent. */
  from?: number;
  /** Byte at which the stream ends without a finish. */
  breakAt?: number;
  /** Digest that is claimed, instead of the right one. */
  digest?: string;
}

/** The messages of an upload. */
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

/** Rows as JSONL. */
export function jsonl(...rows: unknown[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}

/** A pair whose texts tell its number. */
export function row(number: number) {
  return { prompt: `question ${number}?`, chosen: ` yes ${number}`, rejected: ` no ${number}` };
}
