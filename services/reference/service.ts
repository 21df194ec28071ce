import {
  CancelCoverageRequest,
  CoverageState,
  ReferenceServiceService,
  type EnsureLogpsRequest,
  type EstimateLogpsRequest,
  type ReadLogpsResponse,
  Coverage,
} from '@pairwise/api';
import { callOf, runOnce, type Database, type Rates } from '@pairwise/database';
import type { Durable } from '@pairwise/durable';
import { parseDigest } from '@pairwise/fingerprint';
import { unpackPairs } from '@pairwise/preference';
import {
  byName,
  hasEnded,
  inField,
  parseName,
  readPage,
  resolveBaseQuantization,
  service,
  watch,
  type CallContext,
  type Service,
} from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { count } from '@pairwise/telemetry';
import type { CoverageRecord, Coverages } from './coverages.ts';
import { estimate } from './estimate.ts';
import type { Logps } from './logps.ts';
import type { Peers } from './peers.ts';
import { responsesOf } from './plan.ts';
import { coverWork } from './work.ts';

export interface ReferenceDeps {
  database: Database;
  blobs: BlobStore;
  coverages: Coverages;
  logps: Logps;
  peers: Peers;
  rates: Rates;
  durable: Pick<Durable, 'enqueue' | 'queues'>;
  /** The numerics profile of the workers. */
  numericsProfile: string;
}

/** ReferenceService; `proto/pairwise/v1/reference.proto` documents each method. */
export function referenceService(deps: ReferenceDeps): Service {
  const { coverages, database, peers } = deps;
  return service(ReferenceServiceService, {
    ensureLogps: async (request, context) => {
      const record = await coverages.ensure({
        parent: request.parent,
        ...(await inputsOf(peers, request, context)),
        numericsProfile: deps.numericsProfile,
      });
      if (record.coverage.state === CoverageState.COMPUTING) await enqueue(deps, record);
      // The plan of an attempt counts its own hits and misses.
      if (record.coverage.state === CoverageState.COMPLETE) {
        count('pairwise.reference.hits', record.coverage.responseCount, {});
      }
      return { coverage: record.coverage };
    },
    estimateLogps: async (request, context) => ({
      estimate: await estimate(deps, await inputsOf(peers, request, context)),
    }),
    getCoverage: async ({ name }) => ({ coverage: (await coverages.get(named(name))).coverage }),
    listCoverages: async (request) => {
      const { parent } = request;
      parseName('projects/{project}', parent, 'parent');
      const read = async (limit: number, after: string) =>
        (await coverages.list(parent, limit, after)).map(({ coverage }) => coverage);
      const page = await readPage(request, byName('coverages', Coverage, read));
      return { coverages: page.items, nextPageToken: page.nextPageToken };
    },
    watchCoverage: ({ name }, { signal }) => watchCoverage(coverages, named(name), signal),
    cancelCoverage: async (request) => {
      const name = named(request.name);
      await runOnce(database, callOf('CancelCoverage', CancelCoverageRequest, request), async (tx) => {
        await coverages.end(name, { state: CoverageState.CANCELLED }, tx);
        return name;
      });
      return { coverage: (await coverages.get(name)).coverage };
    },
    readLogps: ({ name }) => readLogps(deps, named(name)),
  });
}

/** The model and the encoding that a request names. Throws INVALID_ARGUMENT for another parent than a project, and NOT_FOUND. */
async function inputsOf(
  { model, dataset }: Peers,
  request: EnsureLogpsRequest | EstimateLogpsRequest,
  context: CallContext,
) {
  parseName('projects/{project}', request.parent, 'parent');
  const found = await inField('model', model.getModel({ name: request.model }, context));
  const { encoding } = await inField('encoding', dataset.getEncoding({ name: request.encoding }, context));
  const baseQuantization = resolveBaseQuantization(request.baseQuantization);
  return { model: found.model!, encoding: encoding!, baseQuantization };
}

/** Enqueues the work of a coverage's attempt unless it is enqueued. */
async function enqueue({ rates, durable, numericsProfile }: ReferenceDeps, record: CoverageRecord): Promise<void> {
  const { coverage, attempt } = record;
  const rate = await rates.of(numericsProfile);
  await durable.enqueue(coverWork, `${coverage.name}/${attempt}`, { coverage: coverage.name, attempt, rate });
}

function named(name: string): string {
  parseName('projects/{project}/coverages/{coverage}', name, 'name');
  return name;
}

/** Streams a coverage whenever it has changed, until it has ended. Throws NOT_FOUND. */
function watchCoverage(coverages: Coverages, name: string, signal: AbortSignal): AsyncIterable<{ coverage: Coverage }> {
  return watch<CoverageRecord, { coverage: Coverage }>(
    {
      read: () => coverages.get(name),
      hasEnded: ({ coverage }) => hasEnded(CoverageState, coverage),
      show: ({ coverage }) => ({ coverage }),
    },
    signal,
  );
}

async function* readLogps({ blobs, coverages, logps }: ReferenceDeps, name: string): AsyncGenerator<ReadLogpsResponse> {
  const { coverage, shards } = await coverages.get(name);
  const fingerprint = parseDigest(coverage.referenceFingerprint);
  for (const shard of shards) {
    const responses = [...new Set(responsesOf(unpackPairs(await blobs.get(shard))))];
    for (const { response, tokenLogps } of await logps.read(fingerprint, responses)) {
      yield { responseDigest: response, tokenLogps: [...tokenLogps] };
    }
  }
}
