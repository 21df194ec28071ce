import { CoverageState, ReferenceServiceService, type Coverage, type ReadLogpsResponse } from '@pairwise/api';
import { parseDigest } from '@pairwise/fingerprint';
import { unpackPairs } from '@pairwise/preference';
import { hasEnded, inField, parseName, resolveBaseQuantization, service, watch, type Service } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { count } from '@pairwise/telemetry';
import type { CoverageRecord, Coverages } from './coverages.ts';
import type { Logps } from './logps.ts';
import type { Peers } from './peers.ts';
import { responsesOf } from './plan.ts';

export interface ReferenceDeps {
  blobs: BlobStore;
  coverages: Coverages;
  logps: Logps;
  peers: Peers;
  numericsProfile: string;
  /** Enqueues the work of a coverage's attempt unless it is enqueued. */
  enqueue: (record: CoverageRecord) => Promise<void>;
}

/** ReferenceService; `proto/pairwise/v1/reference.proto` documents each method. */
export function referenceService(deps: ReferenceDeps): Service {
  const { coverages, peers } = deps;
  return service(ReferenceServiceService, {
    ensureLogps: async ({ parent, model: modelName, encoding: encodingName, baseQuantization }, context) => {
      parseName('projects/{project}', parent, 'parent');
      const { model } = await inField('model', peers.model.getModel({ name: modelName }, context));
      const { encoding } = await inField('encoding', peers.dataset.getEncoding({ name: encodingName }, context));
      const record = await coverages.ensure({
        parent,
        model: model!,
        baseQuantization: resolveBaseQuantization(baseQuantization),
        encoding: encoding!,
        numericsProfile: deps.numericsProfile,
      });
      if (record.coverage.state === CoverageState.COMPUTING) await deps.enqueue(record);
      // The plan of an attempt counts its own hits and misses.
      if (record.coverage.state === CoverageState.COMPLETE) {
        count('pairwise.reference.hits', record.coverage.responseCount, {});
      }
      return { coverage: record.coverage };
    },
    getCoverage: async ({ name }) => ({ coverage: (await coverages.get(named(name))).coverage }),
    watchCoverage: ({ name }, { signal }) => watchCoverage(coverages, named(name), signal),
    cancelCoverage: async ({ name }) => ({
      coverage: (await coverages.end(named(name), { state: CoverageState.CANCELLED })).coverage,
    }),
    readLogps: ({ name }) => readLogps(deps, named(name)),
  });
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
      hasEnded: ({ coverage }) => hasEnded(coverage),
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
