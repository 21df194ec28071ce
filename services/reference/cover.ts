import { CoverageState, FileInfo } from '@pairwise/api';
import type { Attempt, Durable } from '@pairwise/durable';
import { parseDigest, type Digest } from '@pairwise/fingerprint';
import { parseConfig, storedFolder, type ModelConfig } from '@pairwise/model';
import { unpackPairs } from '@pairwise/preference';
import { quantizedFile } from '@pairwise/rpc';
import { readJson } from '@pairwise/safetensors';
import type { BlobStore } from '@pairwise/store';
import { count } from '@pairwise/telemetry';
import type { CoverageRecord, Coverages } from './coverages.ts';
import type { Logps } from './logps.ts';
import type { Peers } from './peers.ts';
import { planUnits, responsesOf, unitOperations, type Unit } from './plan.ts';
import { computeWork, type ComputeInput, type CoverInput } from './work.ts';

export interface CoverDeps {
  blobs: BlobStore;
  coverages: Coverages;
  logps: Logps;
  peers: Peers;
  durable: Durable;
  /** The numerics profile that computes the units. */
  numericsProfile: string;
}

/** Takes a coverage to its end: plans its units, waits until the workers have computed them, and ends it. */
export async function cover(deps: CoverDeps, input: CoverInput, { activity }: Attempt): Promise<void> {
  const { coverages, durable } = deps;
  const { coverage: name, attempt } = input;
  try {
    const ids = await activity('plan', () => planCoverage(deps, input));
    await activity('compute', async (signal) => {
      for (const id of ids) {
        signal.throwIfAborted();
        await durable.result(computeWork, id);
      }
    });
    await activity('complete', async () => {
      await coverages.end(name, { state: CoverageState.COMPLETE, attempt });
    });
  } catch (error) {
    const fail = async () => {
      await coverages.end(name, { state: CoverageState.FAILED, error, attempt });
    };
    await activity('fail', fail, { evenIfCancelled: true });
  }
}

/** Counts the responses that are in the store, and enqueues units for the rest. Returns the ids of the units' work. */
async function planCoverage(deps: CoverDeps, input: CoverInput): Promise<string[]> {
  const { blobs, coverages, peers, durable, numericsProfile } = deps;
  const { coverage: name, attempt, rate } = input;
  const record = await coverages.get(name);
  const { model } = await peers.model.getModel({ name: record.coverage.model });
  const files = model!.files.map((file) => ({ ...file, digest: parseDigest(file.digest) }));
  const config = parseConfig(await readJson(storedFolder(files, blobs), 'config.json'));
  const mostOperations = unitOperations(numericsProfile, rate);
  const { units, responseCount, presentCount } = await plan(deps, record, config, mostOperations);
  // If this activity is repeated after a crash, the store also has what this attempt's own units have computed.
  const isCounted = record.coverage.responseCount > 0;
  if (!isCounted) await storeCounts(coverages, input, responseCount, presentCount);
  const filesJson = files.map((file) => FileInfo.toJSON(file));
  const layers = quantizedFile(model!, record.coverage.baseQuantization, 'base_quantization');
  const quantized = layers && FileInfo.toJSON(layers);
  const referenceFingerprint = parseDigest(record.coverage.referenceFingerprint);
  return Promise.all(
    units.map(async (unit) => {
      // The bounds are in the id, so that the unit of another version's plan is never taken for this one.
      const id = `${name}/${attempt}/${unit.shard}/${unit.start}-${unit.end}`;
      const unitInput: ComputeInput = { coverage: name, referenceFingerprint, files: filesJson, quantized, unit };
      await durable.enqueue(computeWork, id, unitInput);
      return id;
    }),
  );
}

/** Stores how many responses there are, and how many of them have logps before this attempt computes any. */
async function storeCounts(
  coverages: Coverages,
  { coverage: name, attempt }: CoverInput,
  responseCount: number,
  presentCount: number,
): Promise<void> {
  await coverages.change(name, ({ coverage, attempt: current }) => {
    // The coverage may have been cancelled and started again.
    if (current !== attempt) return 'unchanged';
    coverage.responseCount = responseCount;
    coverage.reusedCount = presentCount;
    coverage.computedCount = 0;
    coverage.updateTime = new Date();
    return 'changed';
  });
  count('pairwise.reference.hits', presentCount, {});
  count('pairwise.reference.misses', responseCount - presentCount, {});
}

async function plan(
  { blobs, logps }: CoverDeps,
  { coverage, shards }: CoverageRecord,
  config: ModelConfig,
  mostOperations: number,
) {
  const fingerprint = parseDigest(coverage.referenceFingerprint);
  const responses = new Set<Digest>();
  const present = new Set<Digest>();
  const units: Unit[] = [];
  for (const shard of shards) {
    const pairs = unpackPairs(await blobs.get(shard));
    const own = responsesOf(pairs);
    for (const response of own) responses.add(response);
    for (const response of await logps.present(fingerprint, own)) present.add(response);
    units.push(...planUnits(shard, pairs, present, config, mostOperations));
  }
  return { units, responseCount: responses.size, presentCount: present.size };
}
