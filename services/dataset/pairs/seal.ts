import { createReadStream } from 'node:fs';
import { DatasetVersion, SealVersionRequest } from '@pairwise/api';
import { callOf, once, type Database, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import { inField, parseName } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { datasetPattern, type Datasets } from './datasets.ts';
import type { ImportRecord, Imports } from './imports.ts';
import { mergeLines, splitLines, type Line } from './lines.ts';
import { sumReports } from './report.ts';
import type { Staging } from './staging.ts';
import type { Versions } from './versions.ts';

/** What sealing works with. */
export interface Sealing {
  database: Database;
  blobs: BlobStore;
  datasets: Datasets;
  imports: Imports;
  versions: Versions;
  staging: Staging;
}

/** What the next version is made of. */
interface Ingredients {
  /** Number of the next version. */
  number: number;
  before: DatasetVersion | undefined;
  pending: ImportRecord[];
}

/** A version that is made but not sealed, since its making takes longer than a transaction may. */
interface Prepared {
  key: string;
  version: DatasetVersion;
}

/** Thrown out of a transaction that finds other ingredients than were prepared. */
class NotPrepared extends Error {
  readonly ingredients: Ingredients;

  constructor(ingredients: Ingredients) {
    super('the version is to be prepared');
    this.ingredients = ingredients;
  }
}

/** Seals one version at a time: the files of imports are dropped when they are in one. */
export function openSealing(sealing: Sealing) {
  let last: Promise<unknown> = Promise.resolve();
  return (request: SealVersionRequest): Promise<DatasetVersion> => {
    const mine = last.then(() => seal(sealing, request));
    last = mine.catch(() => undefined);
    return mine;
  };
}

/** See `SealVersion` in the proto. */
async function seal(sealing: Sealing, request: SealVersionRequest): Promise<DatasetVersion> {
  const { parent } = request;
  parseName(datasetPattern, parent, 'parent');
  const call = callOf('SealVersion', SealVersionRequest, request);
  for (let prepared: Prepared | undefined; ;) {
    try {
      let sealed: ImportRecord[] = [];
      const name = await once(sealing.database, call, async (tx) => {
        const ingredients = await findIngredients(sealing, parent, tx);
        if (prepared?.key !== keyOf(ingredients)) throw new NotPrepared(ingredients);
        sealed = ingredients.pending;
        return store(sealing, parent, prepared.version, sealed, tx);
      });
      await sealing.imports.drop(sealed);
      return await sealing.versions.get(name);
    } catch (error) {
      if (!(error instanceof NotPrepared)) throw error;
      prepared = await prepare(sealing, parent, error.ingredients);
    }
  }
}

/** Locks the dataset, so that nothing is sealed or deleted meanwhile. Throws EMPTY_DATASET, NOT_FOUND. */
async function findIngredients(
  { datasets, imports, versions }: Sealing,
  parent: string,
  tx: Queries,
): Promise<Ingredients> {
  const { latestVersion } = await inField(
    'parent',
    datasets.change(parent, () => false, tx),
  );
  const pending = await imports.pending(parent, tx);
  if (pending.length === 0) {
    const message = 'parent: the dataset has no import that is READY and in no version yet; import a file first';
    throw new PairwiseError('EMPTY_DATASET', message, { field: 'parent' });
  }
  const before = latestVersion === 0 ? undefined : await versions.get(`${parent}/versions/${latestVersion}`);
  return { number: latestVersion + 1, before, pending };
}

function keyOf({ number, pending }: Ingredients): string {
  return JSON.stringify([number, pending.map(({ uid }) => uid)]);
}

/** Merges the pairs of the version before and of the imports into one blob. */
async function prepare(
  { blobs, staging }: Sealing,
  parent: string,
  { number, before, pending }: Ingredients,
): Promise<Prepared> {
  const staged = pending.map(({ uid }) =>
    splitLines(createReadStream(staging.pairsPath(uid)) as AsyncIterable<Buffer>),
  );
  const sealed = before === undefined ? [] : [splitLines(blobs.read(before.digest as Digest))];
  let duplicates = 0;
  let pairCount = 0;
  const lines = mergeLines([...sealed, ...staged], () => (duplicates += 1));
  const { digest } = await blobs.put(inBatches(lines, () => (pairCount += 1)));
  const reports = [before?.report, ...pending.map((each) => each.import.report)];
  const version = DatasetVersion.create({
    name: `${parent}/versions/${number}`,
    digest,
    pairCount,
    report: sumReports(reports, duplicates),
    createTime: new Date(),
  });
  return { key: keyOf({ number, before, pending }), version };
}

async function store(
  { datasets, imports, versions }: Sealing,
  parent: string,
  version: DatasetVersion,
  sealed: readonly ImportRecord[],
  tx: Queries,
): Promise<string> {
  await versions.create(version.name, parent, version, tx);
  await imports.sealed(sealed, tx);
  const advance = (dataset: { latestVersion: number }) => {
    dataset.latestVersion += 1;
    return true;
  };
  await datasets.change(parent, advance, tx);
  return version.name;
}

const batchBytes = 256 * 1024;

/** The bytes of lines in chunks that are worth writing; each line is told of. */
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
