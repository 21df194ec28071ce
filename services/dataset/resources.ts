import { Dataset, DatasetVersion, Encoding, Import, type ImportPolicy, Model, ModelSource } from '@pairwise/api';
import { openDocuments, type Database } from '@pairwise/database';
import type { Digest } from '@pairwise/fingerprint';

/** An import with what only this service knows of it. */
export interface ImportRecord {
  import: Import;
  policy: ImportPolicy;
  /** sha256 that the caller gave the whole file; empty before its end. */
  fileDigest: string;
  /** The accepted pairs as JSONL; empty before the import is ready. */
  pairs: Digest | '';
  /** The version that the pairs went into; empty before. */
  sealedIn: string;
}

/** A model with what tells its source apart. */
export interface ModelRecord {
  model: Model;
  /** The same for a source whose files have not changed; see `sources.ts`. */
  signature: string;
  /** Counts the times that importing was begun, from 1; part of the work's id. */
  attempt: number;
}

type ImportJson = Omit<ImportRecord, 'import'> & { import: unknown };
type ModelJson = Omit<ModelRecord, 'model'> & { model: unknown };

export type Resources = ReturnType<typeof openResources>;

/** The resources in Postgres. */
export function openResources(database: Database) {
  return {
    datasets: openDocuments(database, 'datasets', 'dataset', Dataset),
    imports: openDocuments<ImportRecord>(database, 'imports', 'import', {
      toJSON: (record) => ({ ...record, import: Import.toJSON(record.import), etag: undefined }),
      fromJSON: (json: ImportJson) => ({ ...json, import: Import.fromJSON(json.import) }),
    }),
    versions: openDocuments(database, 'versions', 'dataset version', DatasetVersion),
    encodings: openDocuments(database, 'encodings', 'encoding', Encoding),
    models: openDocuments<ModelRecord>(database, 'models', 'model', {
      toJSON: (record) => ({ ...record, model: Model.toJSON(record.model), etag: undefined }),
      fromJSON: (json: ModelJson) => ({ ...json, model: Model.fromJSON(json.model) }),
    }),
  };
}

/** A source as JSON, for digests. */
export function sourceJson(source: ModelSource | undefined): string {
  return JSON.stringify(source === undefined ? null : ModelSource.toJSON(source));
}
