import { Coverage, CoverageState, ModelState, type Encoding, type Model } from '@pairwise/api';
import { openDocuments, type Database, type Stored } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { fingerprintOf, type Digest } from '@pairwise/fingerprint';
import { statusOf } from '@pairwise/rpc';
import { engineVersion } from '@pairwise/training';

/** A coverage with what its workflow needs to know. */
export interface CoverageRecord {
  coverage: Coverage;
  /** Counts the times that computing was begun, from 1; part of the workflow's id. */
  attempt: number;
  /** Digests of the encoding's shards, in canonical order. */
  shards: Digest[];
}

export type Coverages = ReturnType<typeof openCoverages>;

interface RecordJson {
  coverage: unknown;
  attempt: number;
  shards: Digest[];
}

const codec = {
  toJSON: ({ coverage, attempt, shards }: CoverageRecord) => ({ coverage: Coverage.toJSON(coverage), attempt, shards }),
  fromJSON: ({ coverage, attempt, shards }: RecordJson): CoverageRecord => ({
    coverage: Coverage.fromJSON(coverage),
    attempt,
    shards,
  }),
};

/**
 * sha256 of everything besides tokens that determines a reference logp: weights, config, graphs, numerics. Other files of
 * the model, such as its tokenizer, are not in it: token ids are what is keyed.
 */
export function referenceFingerprint(files: Model['files'], numericsProfile: string): Digest {
  // The index says which of the weight files are read.
  const named = ['config.json', 'model.safetensors.index.json'];
  const weighty = files.filter(({ path }) => path.endsWith('.safetensors') || named.includes(path));
  const entries = weighty.map(({ path, digest }) => [path, digest]).sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
  return fingerprintOf({ kind: 'reference', files: entries, engineVersion, numericsProfile });
}

/** The coverages in Postgres. */
export function openCoverages(database: Database) {
  const documents = openDocuments(database, 'coverages', 'coverage', codec);

  return {
    get: documents.get,
    change: documents.change,

    /**
     * The coverage of an encoding under a reference; begins computing unless it is computing or complete already.
     */
    async ensure(
      parent: string,
      model: Model,
      encoding: Encoding,
      numericsProfile: string,
    ): Promise<Stored<CoverageRecord>> {
      if (model.state !== ModelState.READY) {
        throw new PairwiseError('WRONG_STATE', `model: '${model.name}' is not ready`, { field: 'model' });
      }
      const fingerprint = referenceFingerprint(model.files, numericsProfile);
      const id = fingerprintOf({ fingerprint, encoding: encoding.fingerprint }).slice(
        'sha256:'.length,
        'sha256:'.length + 32,
      );
      const name = `${parent}/coverages/${id}`;
      const coverage = Coverage.create({
        name,
        state: CoverageState.COMPUTING,
        model: model.name,
        encoding: encoding.name,
        referenceFingerprint: fingerprint,
        createTime: new Date(),
        updateTime: new Date(),
      });
      const shards = encoding.shardDigests as Digest[];
      if (await documents.create(name, parent, { coverage, attempt: 1, shards })) return documents.get(name);
      return documents.change(name, (record) => {
        const { state } = record.coverage;
        if (state !== CoverageState.FAILED && state !== CoverageState.CANCELLED) return false;
        record.attempt += 1;
        record.coverage = coverage;
        return true;
      });
    },

    /**
     * Ends computing, one way or another; a coverage that has ended stays as it is, and so does one that has been begun
     * again since the attempt that is given.
     */
    end(
      name: string,
      state: CoverageState,
      { error, attempt }: { error?: unknown; attempt?: number } = {},
    ): Promise<Stored<CoverageRecord>> {
      return documents.change(name, (record) => {
        const { coverage } = record;
        if (coverage.state !== CoverageState.COMPUTING || (attempt ?? record.attempt) !== record.attempt) return false;
        coverage.state = state;
        // What other coverages computed meanwhile was found in the store as well.
        if (state === CoverageState.COMPLETE) coverage.reusedCount = coverage.responseCount - coverage.computedCount;
        coverage.error = error === undefined ? undefined : statusOf(error);
        coverage.updateTime = new Date();
        return true;
      });
    },
  };
}
