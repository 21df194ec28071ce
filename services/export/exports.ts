import { Export, ExportState, StartExportRequest, type Artifact, type Verification } from '@pairwise/api';
import { openDocuments, type Database, type Queries, type Stored } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { fingerprintOf, type Digest, type Recipe } from '@pairwise/fingerprint';
import { statusOf } from '@pairwise/rpc';

/** An export with what its workflow needs to know. */
export interface ExportRecord {
  export: Export;
  request: StartExportRequest;
  /** Counts the times that it was begun, from 1; part of the workflow's id. */
  attempt: number;
}

/** `Attempt.fence`: throws in a transaction of an attempt that has lost its work to another. */
export type Fence = (tx: Queries) => Promise<void>;

export type Exports = ReturnType<typeof openExports>;

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

/** Whether an export will not change any more unless it is started again. */
export function hasEnded({ state }: Export): boolean {
  return state === ExportState.SUCCEEDED || state === ExportState.FAILED || state === ExportState.CANCELLED;
}

/** The exports in Postgres. */
export function openExports(database: Database) {
  const documents = openDocuments(database, 'exports', 'export', codec);

  return {
    get: documents.get,
    change: documents.change,

    /**
     * The export of a request: a new one, the one that there is, or, if that failed or was cancelled, that one queued
     * again with the artifacts that it had finished. Throws ALREADY_EXISTS if there is one with other inputs.
     */
    async ensure(exported: Export, request: StartExportRequest): Promise<Stored<ExportRecord>> {
      const { name } = exported;
      if (await documents.create(name, request.parent, { export: exported, request, attempt: 1 })) {
        return documents.get(name);
      }
      const found = await documents.find(name);
      if (found === undefined || inputsOf(found.request) !== inputsOf(request)) {
        const message = `export_id: '${name}' exists or has existed with other inputs; choose another`;
        throw new PairwiseError('ALREADY_EXISTS', message, { field: 'export_id' });
      }
      return documents.change(name, (record) => {
        const { state } = record.export;
        if (state !== ExportState.FAILED && state !== ExportState.CANCELLED) return false;
        record.attempt += 1;
        record.export.state = ExportState.QUEUED;
        record.export.error = undefined;
        record.export.updateTime = new Date();
        return true;
      });
    },

    /** Moves an export that has not ended to a state, in the transaction that `fence` guards. */
    enter(name: string, state: ExportState, error: unknown, fence: Fence): Promise<Stored<ExportRecord>> {
      return documents.change(name, async ({ export: exported }, tx) => {
        await fence(tx);
        if (hasEnded(exported) || exported.state === state) return false;
        exported.state = state;
        exported.error = error === undefined ? undefined : statusOf(error);
        exported.updateTime = new Date();
        return true;
      });
    },

    /** Adds a finished artifact, in the transaction that `fence` guards. */
    addArtifact(name: string, artifact: Artifact, fence: Fence): Promise<unknown> {
      return documents.change(name, async ({ export: exported }, tx) => {
        await fence(tx);
        exported.artifacts = [...exported.artifacts.filter((other) => other.name !== artifact.name), artifact];
        exported.updateTime = new Date();
        return true;
      });
    },

    /** Notes how well an artifact reproduces the policy, in the transaction that `fence` guards. */
    addVerification(name: string, artifactName: string, verification: Verification, fence: Fence): Promise<unknown> {
      return documents.change(name, async ({ export: exported }, tx) => {
        await fence(tx);
        const artifact = exported.artifacts.find((each) => each.name === artifactName);
        if (artifact === undefined) return false;
        artifact.verification = verification;
        exported.updateTime = new Date();
        return true;
      });
    },

    /** Deletes an ended export. Throws NOT_FOUND, WRONG_STATE. */
    remove(name: string): Promise<void> {
      return documents.remove(name, '', ({ export: exported }) => {
        if (hasEnded(exported)) return Promise.resolve();
        throw new PairwiseError('WRONG_STATE', `name: '${name}' has not ended; cancel it first`, { field: 'name' });
      });
    },
  };
}

/** What makes two requests the same export. */
function inputsOf(request: StartExportRequest): Digest {
  return fingerprintOf(StartExportRequest.toJSON(request) as Recipe);
}
