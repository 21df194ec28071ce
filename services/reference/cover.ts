import { CoverageState, FileInfo } from '@pairwise/api';
import type { Attempt, Durable } from '@pairwise/durable';
import type { Digest } from '@pairwise/fingerprint';
import { unpackPairs, type EncodedPair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import { count } from '@pairwise/telemetry';
import type { Coverages } from './coverages.ts';
import type { Logps } from './logps.ts';
import type { Peers } from './peers.ts';
import { planUnits, responsesOf, type Unit } from './plan.ts';
import { computeWork, type ComputeInput, type CoverInput } from './work.ts';

/** What the workflow of a coverage works with. */
export interface Covering {
  blobs: BlobStore;
  coverages: Coverages;
  logps: Logps;
  peers: Peers;
  durable: Durable;
}

/** Sees a coverage through: plans its units, has the workers compute them, and ends it. */
export async function cover(covering: Covering, input: CoverInput, { step }: Attempt): Promise<void> {
  const { coverages, durable } = covering;
  const end = async (state: CoverageState, error?: unknown) => {
    await coverages.end(input.coverage, state, { error, attempt: input.attempt });
  };
  try {
    const ids = await step('plan', () => planCoverage(covering, input));
    await step('compute', async (signal) => {
      for (const id of ids) {
        signal.throwIfAborted();
        await durable.result(computeWork, id);
      }
    });
    await step('complete', () => end(CoverageState.COMPLETE));
  } catch (error) {
    await step('fail', () => end(CoverageState.FAILED, error), { evenIfCancelled: true });
  }
}

/** Counts what is there and enqueues a unit of work for what is not; returns the units' ids. */
async function planCoverage(covering: Covering, { coverage: name, attempt }: CoverInput): Promise<string[]> {
  const { blobs, coverages, logps, peers, durable } = covering;
  const record = await coverages.get(name);
  const { model } = await peers.model.getModel({ name: record.coverage.model });
  const fingerprint = record.coverage.referenceFingerprint as Digest;
  const responses = new Set<Digest>();
  const present = new Set<Digest>();
  const units: Unit[] = [];
  for (const shard of record.shards) {
    const pairs = unpackPairs(await blobs.get(shard));
    const own = responsesOf(pairs);
    for (const response of own) responses.add(response);
    for (const response of await logps.present(fingerprint, own)) present.add(response);
    units.push(...planUnits(shard, pairs, present, Number(model!.parameterCount)));
  }
  await coverages.change(name, ({ coverage, attempt: now }) => {
    // It may have been cancelled and begun again.
    if (now !== attempt) return false;
    coverage.responseCount = responses.size;
    coverage.reusedCount = present.size;
    coverage.computedCount = 0;
    coverage.updateTime = new Date();
    return true;
  });
  count('pairwise.reference.hits', present.size, {});
  count('pairwise.reference.misses', responses.size - present.size, {});
  const files = model!.files.map((file) => FileInfo.toJSON(file));
  return Promise.all(
    units.map(async (unit) => {
      const id = `${name}/${attempt}/${unit.shard}/${unit.start}`;
      const input: ComputeInput = { coverage: name, referenceFingerprint: fingerprint, files, unit };
      await durable.enqueue(computeWork, id, input);
      return id;
    }),
  );
}

/** The pairs of a unit. */
export async function unitPairs(blobs: BlobStore, { shard, start, end: to }: Unit): Promise<EncodedPair[]> {
  return unpackPairs(await blobs.get(shard)).slice(start, to);
}
