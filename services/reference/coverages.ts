import { Coverage, CoverageState, ModelState, type BaseQuantization, type Encoding, type Model } from '@pairwise/api';
import { openDocuments, type Database, type Documents, type Queries, type Stored } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { fingerprintOf, hexOf, parseDigest, type Digest } from '@pairwise/fingerprint';
import { quantizedFile, statusOf } from '@pairwise/rpc';
import { referenceFingerprint } from './fingerprint.ts';

/** A coverage as it is stored: the resource, and what else its workflow needs. */
export interface CoverageRecord {
  coverage: Coverage;
  /** How many times computing was started, from 1; part of the workflow's id. */
  attempt: number;
  /** Digests of the encoding's shards, in canonical order. */
  shards: Digest[];
}

/** What a coverage covers. */
export interface CoverageInputs {
  /** The project, `projects/{project}`. */
  parent: string;
  model: Model;
  baseQuantization: BaseQuantization;
  encoding: Encoding;
  numericsProfile: string;
}

/** How an attempt ends. */
export interface CoverageEnd {
  state: CoverageState;
  error?: unknown;
  /** End this attempt only. Default: whichever is the current one. */
  attempt?: number;
}

/** The coverages in Postgres. */
export interface Coverages {
  /** Throws NOT_FOUND. */
  get(name: string): Promise<Stored<CoverageRecord>>;
  /** Changes a coverage under its row lock; see `Documents.change`. Throws NOT_FOUND. */
  change: Documents<CoverageRecord>['change'];
  /** A project's coverages, newest first; see `Documents.list`. */
  list: Documents<CoverageRecord>['list'];
  /**
   * The coverage of an encoding under a reference model: a new one; the one that exists; or, if that failed or was
   * cancelled, the same one in a new attempt. Throws WRONG_STATE if the model or its quantisation is not ready.
   */
  ensure(inputs: CoverageInputs): Promise<Stored<CoverageRecord>>;
  /**
   * Ends an attempt, unless it has ended or is not the current one any more. `within` is a transaction to do so in; default:
   * one of its own. Throws NOT_FOUND.
   */
  end(name: string, end: CoverageEnd, within?: Queries): Promise<Stored<CoverageRecord>>;
}

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

/** Opens the coverages of a database. */
export function openCoverages(database: Database): Coverages {
  const documents = openDocuments(database, 'coverages', 'coverage', codec);
  return {
    get: documents.get,
    change: documents.change,
    list: documents.list,
    ensure: async (inputs) => {
      const coverage = newCoverage(inputs);
      const { name } = coverage;
      const shards = inputs.encoding.shardDigests.map(parseDigest);
      if (await documents.create(name, inputs.parent, { coverage, attempt: 1, shards })) return documents.get(name);
      return documents.change(name, (record) => {
        const { state } = record.coverage;
        if (state !== CoverageState.FAILED && state !== CoverageState.CANCELLED) return 'unchanged';
        record.attempt += 1;
        record.coverage = coverage;
        return 'changed';
      });
    },
    end: (name, { state, error, attempt }, within) => {
      const end = (record: CoverageRecord) => {
        const { coverage } = record;
        if (coverage.state !== CoverageState.COMPUTING || (attempt ?? record.attempt) !== record.attempt)
          return 'unchanged';
        coverage.state = state;
        // Includes what other coverages computed meanwhile, which this one found in the store.
        if (state === CoverageState.COMPLETE) coverage.reusedCount = coverage.responseCount - coverage.computedCount;
        coverage.error = error === undefined ? undefined : statusOf(error);
        coverage.updateTime = new Date();
        return 'changed';
      };
      return documents.change(name, end, within);
    },
  };
}

/** The reference fingerprint of a model. Throws WRONG_STATE if the model or its quantisation is not ready. */
export function fingerprintOfModel(model: Model, baseQuantization: BaseQuantization, numericsProfile: string): Digest {
  if (model.state !== ModelState.READY) {
    const message = `model: '${model.name}' is not ready; wait until its import has succeeded`;
    throw new PairwiseError('WRONG_STATE', message, { field: 'model' });
  }
  return referenceFingerprint(
    model.files,
    numericsProfile,
    quantizedFile(model, baseQuantization, 'base_quantization'),
  );
}

function newCoverage({ parent, model, baseQuantization, encoding, numericsProfile }: CoverageInputs): Coverage {
  const fingerprint = fingerprintOfModel(model, baseQuantization, numericsProfile);
  const id = hexOf(fingerprintOf({ fingerprint, encoding: encoding.fingerprint })).slice(0, 32);
  return Coverage.create({
    name: `${parent}/coverages/${id}`,
    state: CoverageState.COMPUTING,
    model: model.name,
    encoding: encoding.name,
    referenceFingerprint: fingerprint,
    baseQuantization,
    createTime: new Date(),
    updateTime: new Date(),
  });
}
