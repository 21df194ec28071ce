import { Export, ExportState, StartExportRequest, type Artifact } from '@pairwise/api';
import {
  openDocuments,
  type Change,
  type Database,
  type Documents,
  type Queries,
  type Stored,
} from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { fingerprintOf, type Digest, type Recipe } from '@pairwise/fingerprint';
import { hasEnded, statusOf } from '@pairwise/rpc';

/** An export and what its workflow needs to know. */
export interface ExportRecord {
  export: Export;
  request: StartExportRequest;
  /** Number of the current attempt, from 1; part of the workflow's id. */
  attempt: number;
}

/** `Attempt.fence`: throws in a transaction of an attempt that has lost its work to another one. */
export type Fence = (tx: Queries) => Promise<void>;

/** The exports in Postgres. */
export interface Exports extends Pick<Documents<ExportRecord>, 'get' | 'change' | 'list'> {
  /**
   * Returns the export of a request. Creates it if it is new, and queues it again if it failed or was cancelled; its
   * finished artifacts remain. Throws ALREADY_EXISTS if the name belongs to an export with different inputs.
   */
  ensure(exported: Export, request: StartExportRequest): Promise<Stored<ExportRecord>>;
  /** Changes the state of an export that has not ended. `fence` guards the transaction. */
  enter(name: string, state: ExportState, error: unknown, fence: Fence): Promise<void>;
  /** Adds a finished artifact, or replaces it once it is verified. `fence` guards the transaction. */
  putArtifact(name: string, artifact: Artifact, fence: Fence): Promise<void>;
  /** Deletes an export that has ended. `alongside` deletes what belongs to it. Throws NOT_FOUND, WRONG_STATE. */
  remove(name: string, alongside: () => Promise<void>, tx: Queries): Promise<void>;
}

interface RecordJson {
  export: unknown;
  request: unknown;
  attempt: number;
}

const codec = {
  toJSON: ({ export: exported, request, attempt }: ExportRecord) => ({
    export: Export.toJSON(exported),
    request: StartExportRequest.toJSON(request),
    attempt,
  }),
  fromJSON: ({ export: exported, request, attempt }: RecordJson): ExportRecord => ({
    export: Export.fromJSON(exported),
    request: StartExportRequest.fromJSON(request),
    attempt,
  }),
};

export function openExports(database: Database): Exports {
  const documents = openDocuments(database, 'exports', 'export', codec);

  /** Changes an export in a transaction that `fence` guards. */
  async function changeFenced(name: string, fence: Fence, alter: (exported: Export) => Change): Promise<void> {
    await documents.change(name, async ({ export: exported }, tx) => {
      await fence(tx);
      if (alter(exported) === 'unchanged') return 'unchanged';
      exported.updateTime = new Date();
      return 'changed';
    });
  }

  return {
    get: documents.get,
    change: documents.change,
    list: documents.list,
    async ensure(exported, request) {
      const { name } = exported;
      if (await documents.create(name, request.parent, { export: exported, request, attempt: 1 })) {
        return documents.get(name);
      }
      const found = await documents.find(name);
      if (found === undefined || inputsOf(found.request) !== inputsOf(request)) {
        const message = `export_id: '${name}' exists or has existed with different inputs; choose another id`;
        throw new PairwiseError('ALREADY_EXISTS', message, { field: 'export_id' });
      }
      return documents.change(name, queueAgain);
    },
    enter: (name, state, error, fence) =>
      changeFenced(name, fence, (exported) => {
        if (hasEnded(ExportState, exported) || exported.state === state) return 'unchanged';
        exported.state = state;
        exported.error = error === undefined ? undefined : statusOf(error);
        return 'changed';
      }),
    putArtifact: (name, artifact, fence) =>
      changeFenced(name, fence, (exported) => {
        const index = exported.artifacts.findIndex((other) => other.name === artifact.name);
        exported.artifacts.splice(index < 0 ? exported.artifacts.length : index, 1, artifact);
        return 'changed';
      }),
    remove: (name, alongside, tx) => {
      const removeBelongings = ({ export: exported }: ExportRecord) => {
        if (hasEnded(ExportState, exported)) return alongside();
        throw new PairwiseError('WRONG_STATE', `name: '${name}' has not ended; cancel it first`, { field: 'name' });
      };
      return documents.remove(name, '', removeBelongings, tx);
    },
  };
}

function queueAgain(record: ExportRecord): Change {
  const { state } = record.export;
  if (state !== ExportState.FAILED && state !== ExportState.CANCELLED) return 'unchanged';
  record.attempt += 1;
  record.export.state = ExportState.QUEUED;
  record.export.error = undefined;
  record.export.updateTime = new Date();
  return 'changed';
}

/** Requests with equal inputs are the same export. What only verification reads does not change the artifacts. */
function inputsOf(request: StartExportRequest): Digest {
  return fingerprintOf(StartExportRequest.toJSON({ ...request, evalEncoding: '' }) as Recipe);
}
