import { createReadStream } from 'node:fs';
import { DatasetVersion, SealVersionRequest, type Dataset } from '@pairwise/api';
import { callOf, runOnce, type Database, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { parseDigest } from '@pairwise/fingerprint';
import { inField, parseName } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { datasetPattern, type Datasets } from './datasets.ts';
import type { ImportRecord, Imports } from './imports.ts';
import { mergeLines, splitLines, type Line } from './lines.ts';
import { sumReports } from './report.ts';
import type { Staging } from './staging.ts';
import type { Versions } from './versions.ts';

export interface SealDeps {
  database: Database;
  blobs: BlobStore;
  datasets: Datasets;
  imports: Imports;
  versions: Versions;
  staging: Staging;
}

/** What the next version of a dataset is made from. */
interface Inputs {
  dataset: string;
  /** Number of the next version. */
  number: number;
  previous: DatasetVersion | undefined;
  pending: ImportRecord[];
}

/** A version whose pairs are in the blob store but which is not in the database yet. */
interface Prepared {
  inputs: Inputs;
  version: DatasetVersion;
}

/** Rolls back a transaction whose inputs differ from the prepared ones, and says what to prepare instead. */
class NotPrepared extends Error {
  readonly inputs: Inputs;

  constructor(inputs: Inputs) {
    super('the inputs of the version have changed');
    this.inputs = inputs;
  }
}

/** Implements `SealVersion`. */
export type Sealer = (request: SealVersionRequest) => Promise<DatasetVersion>;

/** Seals one version at a time, because the staged files of imports are removed afterwards. */
export function openSealer(deps: SealDeps): Sealer {
  let last: Promise<unknown> = Promise.resolve();
  return (request) => {
    const mine = last.then(() => seal(deps, request));
    last = mine.catch(() => undefined);
    return mine;
  };
}

/**
 * Merging the pairs takes longer than a transaction may, so it happens outside of one. The transaction then checks that the
 * inputs are still the same; otherwise the version is prepared again.
 */
async function seal(deps: SealDeps, request: SealVersionRequest): Promise<DatasetVersion> {
  const { parent } = request;
  parseName(datasetPattern, parent, 'parent');
  const call = callOf('SealVersion', SealVersionRequest, request);
  for (let prepared: Prepared | undefined; ;) {
    try {
      let sealed: ImportRecord[] = [];
      const name = await runOnce(deps.database, call, async (tx) => {
        const inputs = await findInputs(deps, parent, tx);
        if (prepared === undefined || keyOf(prepared.inputs) !== keyOf(inputs)) throw new NotPrepared(inputs);
        await store(deps, prepared, tx);
        sealed = inputs.pending;
        return prepared.version.name;
      });
      await deps.imports.dropFiles(sealed);
      return await deps.versions.get(name);
    } catch (error) {
      if (!(error instanceof NotPrepared)) throw error;
      prepared = await prepare(deps, error.inputs);
    }
  }
}

/** Locks the dataset until the transaction ends, so that it is neither sealed nor deleted meanwhile. */
async function findInputs({ datasets, imports, versions }: SealDeps, dataset: string, tx: Queries): Promise<Inputs> {
  const lock = datasets.change(dataset, () => 'unchanged', tx);
  const { latestVersion } = await inField('parent', lock);
  const pending = await imports.pending(dataset, tx);
  if (pending.length === 0) {
    const message = 'parent: the dataset has no READY import that is not in a version yet; import a file first';
    throw new PairwiseError('EMPTY_DATASET', message, { field: 'parent' });
  }
  const previous = latestVersion === 0 ? undefined : await versions.get(`${dataset}/versions/${latestVersion}`);
  return { dataset, number: latestVersion + 1, previous, pending };
}

function keyOf({ number, pending }: Inputs): string {
  return JSON.stringify([number, pending.map(({ uid }) => uid)]);
}

/** Merges the pairs of the previous version and of the imports into one blob. */
async function prepare({ blobs, staging }: SealDeps, inputs: Inputs): Promise<Prepared> {
  const { dataset, number, previous, pending } = inputs;
  const staged = pending.map(({ uid }) =>
    splitLines(createReadStream(staging.pairsPath(uid)) as AsyncIterable<Buffer>),
  );
  const sealed = previous === undefined ? [] : [splitLines(blobs.read(parseDigest(previous.digest)))];
  let duplicates = 0;
  let pairCount = 0;
  const lines = mergeLines([...sealed, ...staged], () => (duplicates += 1));
  const { digest } = await blobs.put(inBatches(lines, () => (pairCount += 1)));
  const reports = [previous?.report, ...pending.map((each) => each.import.report)];
  const version = DatasetVersion.create({
    name: `${dataset}/versions/${number}`,
    digest,
    pairCount,
    report: sumReports(reports, duplicates),
    createTime: new Date(),
  });
  return { inputs, version };
}

async function store({ datasets, imports, versions }: SealDeps, prepared: Prepared, tx: Queries): Promise<void> {
  const { inputs, version } = prepared;
  await versions.create(version.name, inputs.dataset, version, tx);
  await imports.sealed(inputs.pending, tx);
  const advance = (dataset: Dataset) => {
    dataset.latestVersion += 1;
    return 'changed' as const;
  };
  await datasets.change(inputs.dataset, advance, tx);
}

const batchBytes = 256 * 1024;

/** Concatenates lines into chunks of at least `batchBytes`; calls `onLine` for each line. */
async function* inBatches(lines: AsyncIterable<Line>, onLine: () => void): AsyncGenerator<Buffer> {
  let batch: Buffer[] = [];
  let size = 0;
  for await (const { bytes } of lines) {
    onLine();
    batch.push(bytes);
    size += bytes.length;
    if (size < batchBytes) continue;
    yield Buffer.concat(batch);
    [batch, size] = [[], 0];
  }
  if (batch.length > 0) yield Buffer.concat(batch);
}
