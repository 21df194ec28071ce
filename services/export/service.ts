import {
  Artifact,
  CancelExportRequest,
  CancelPushRequest,
  DeleteExportRequest,
  Export,
  ExportServiceService,
  ExportState,
  Push,
  type DownloadArtifactRequest,
} from '@pairwise/api';
import { callOf, runOnce, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { parseDigest } from '@pairwise/fingerprint';
import { byName, hasEnded, inField, parseName, readPage, service, type Service } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import type { ExportRecord, Exports } from './exports.ts';
import type { Peers } from './peers.ts';
import { exportOf, artifactPattern, pushPattern, type CancelPush } from './pushes.ts';
import { startExport } from './start.ts';
import { startPush, type StartPushDeps } from './startPush.ts';

export interface ExportServiceDeps extends StartPushDeps {
  blobs: BlobStore;
  exports: Exports;
  peers: Peers;
  /** Queues the work of an export's attempt. Idempotent. */
  enqueue: (record: ExportRecord) => Promise<void>;
  /** Cancels the work of an export's attempt when the transaction commits. */
  cancel: (record: ExportRecord, tx: Queries) => Promise<void>;
  cancelPush: CancelPush;
}

const pattern = 'projects/{project}/exports/{export}';

/** ExportService; `proto/pairwise/v1/export.proto` documents each method. */
export function exportService(deps: ExportServiceDeps): Service {
  const { database, exports, pushes, cancelPush } = deps;
  return service(ExportServiceService, {
    startExport: async (request, context) => {
      const record = await startExport(deps, request, context);
      if (!hasEnded(ExportState, record.export)) await deps.enqueue(record);
      return { export: record.export };
    },
    getExport: async ({ name }) => ({ export: (await exports.get(named(name))).export }),
    listExports: async (request) => {
      const { parent } = request;
      parseName('projects/{project}', parent, 'parent');
      const read = async (limit: number, after: string) =>
        (await exports.list(parent, limit, after)).map((record) => record.export);
      const page = await readPage(request, byName('exports', Export, read));
      return { exports: page.items, nextPageToken: page.nextPageToken };
    },
    cancelExport: async (request) => ({ export: await cancel(deps, request) }),
    deleteExport: async (request) => {
      const name = named(request.name);
      await runOnce(database, callOf('DeleteExport', DeleteExportRequest, request), async (tx) => {
        await exports.remove(name, () => pushes.removeAll(name, cancelPush, tx), tx);
        return name;
      });
      return {};
    },
    listArtifacts: async (request) => {
      const { artifacts } = (await inField('parent', exports.get(named(request.parent, 'parent')))).export;
      const page = await readPage(
        request,
        byName('artifacts', Artifact, (limit, after) => {
          const start = artifacts.findIndex(({ name }) => name === after) + 1;
          return Promise.resolve(artifacts.slice(start, start + limit));
        }),
      );
      return { artifacts: page.items, nextPageToken: page.nextPageToken };
    },
    downloadArtifact: (request) => download(deps, request),
    pushArtifact: async (request) => ({ push: await startPush(deps, request) }),
    getPush: async ({ name }) => {
      parseName(pushPattern, name, 'name');
      return { push: await pushes.get(name) };
    },
    listPushes: async (request) => {
      await inField('parent', exports.get(named(request.parent, 'parent')));
      const read = (limit: number, after: string) => pushes.list(request.parent, limit, after);
      const page = await readPage(request, byName('pushes', Push, read));
      return { pushes: page.items, nextPageToken: page.nextPageToken };
    },
    cancelPush: async (request) => {
      const { name } = request;
      parseName(pushPattern, name, 'name');
      await runOnce(database, callOf('CancelPush', CancelPushRequest, request), async (tx) => {
        await pushes.cancel(name, cancelPush, tx);
        return name;
      });
      return { push: await pushes.get(name) };
    },
  });
}

function named(name: string, field = 'name'): string {
  parseName(pattern, name, field);
  return name;
}

async function cancel(deps: ExportServiceDeps, request: CancelExportRequest): Promise<Export> {
  const { database, exports, cancel: cancelWork } = deps;
  const name = named(request.name);
  const stop = async (record: ExportRecord, tx: Queries) => {
    if (hasEnded(ExportState, record.export) || record.export.state === ExportState.CANCELLING) return 'unchanged';
    record.export.state = ExportState.CANCELLING;
    record.export.updateTime = new Date();
    await cancelWork(record, tx);
    return 'changed';
  };
  await runOnce(database, callOf('CancelExport', CancelExportRequest, request), async (tx) => {
    await exports.change(name, stop, tx);
    return name;
  });
  return (await exports.get(name)).export;
}

/** Streams one file of an artifact. The path is looked up in the artifact's list of files and never reaches the file system. */
async function* download({ blobs, exports }: ExportServiceDeps, { name, path, offsetBytes }: DownloadArtifactRequest) {
  parseName(artifactPattern, name, 'name');
  const { artifacts } = (await exports.get(exportOf(name))).export;
  const artifact = artifacts.find((each) => each.name === name);
  if (artifact === undefined)
    throw new PairwiseError('NOT_FOUND', `name: there is no artifact '${name}'`, { field: 'name' });
  const file = artifact.files.find((each) => each.path === path);
  if (file === undefined) {
    const message = `path: the artifact has no such file; it has ${artifact.files.map((each) => each.path).join(', ')}`;
    throw new PairwiseError('NOT_FOUND', message, { field: 'path' });
  }
  if (offsetBytes < 0n || offsetBytes > file.sizeBytes) {
    const message = `offset_bytes is ${offsetBytes}; it must be from 0 to ${file.sizeBytes}`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'offset_bytes' });
  }
  for await (const chunk of blobs.read(parseDigest(file.digest), { start: Number(offsetBytes) })) yield { chunk };
}
