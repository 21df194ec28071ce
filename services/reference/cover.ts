import { CoverageState, FileInfo } from '@pairwise/api';
import { leastMemoryBytes, workersOf, type Attempt, type Durable } from '@pairwise/durable';
import { parseDigest } from '@pairwise/fingerprint';
import { readStoredModel, type BaseModel } from '@pairwise/model';
import { quantizedFile } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { count } from '@pairwise/telemetry';
import {
  defaultRowLimit,
  fits,
  outOfMemory,
  referenceMemory,
  totalBytes,
  type Memory,
  type MicroBatchShape,
} from '@pairwise/training';
import type { Coverages } from './coverages.ts';
import type { Logps } from './logps.ts';
import type { Peers } from './peers.ts';
import { planEncoding, unitOperations } from './plan.ts';
import { storedFile } from './referenceModel.ts';
import { computeWork, type CoverInput } from './work.ts';

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

/**
 * Counts the responses that are in the store, and enqueues units for the rest. Returns the ids of the units' work. Throws
 * OUT_OF_MEMORY if a unit does not fit into the memory of every live worker.
 */
async function planCoverage(deps: CoverDeps, input: CoverInput): Promise<string[]> {
  const { blobs, coverages, peers, durable, numericsProfile } = deps;
  const { coverage: name, attempt, rate } = input;
  const { coverage, shards } = await coverages.get(name);
  const { model } = await peers.model.getModel({ name: coverage.model });
  const files = model!.files.map(storedFile);
  const layers = quantizedFile(model!, coverage.baseQuantization, 'base_quantization');
  const base = await readStoredModel(files, blobs, layers && storedFile(layers));
  const referenceFingerprint = parseDigest(coverage.referenceFingerprint);
  const mostOperations = unitOperations(numericsProfile, rate);
  const plan = await planEncoding(deps, { referenceFingerprint, shards, config: base.config, mostOperations });
  const memory = plan.units.length === 0 ? undefined : referenceMemory(base, plan.shape);
  // If this activity is repeated after a crash, the store also has what this attempt's own units have computed.
  const isCounted = coverage.responseCount > 0;
  if (!isCounted) {
    if (memory) await refuseTooLarge(durable, base, plan.shape, memory);
    await storeCounts(coverages, input, plan.responseCount, plan.presentCount);
  }
  const filesJson = model!.files.map((file) => FileInfo.toJSON(file));
  const quantized = layers && FileInfo.toJSON(layers);
  const memoryBytes = memory && totalBytes(memory);
  const common = { coverage: name, referenceFingerprint, files: filesJson, quantized, memoryBytes };
  return Promise.all(
    plan.units.map(async (unit) => {
      // The bounds are in the id, so that the unit of another version's plan is never taken for this one.
      const id = `${name}/${attempt}/${unit.shard}/${unit.start}-${unit.end}`;
      await durable.enqueue(computeWork, id, { ...common, unit });
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

/** Throws OUT_OF_MEMORY if micro-batches of this shape, which take this memory, do not fit into that of every worker. */
async function refuseTooLarge(
  durable: Durable,
  base: BaseModel,
  shape: MicroBatchShape,
  memory: Memory,
): Promise<void> {
  const availableBytes = leastMemoryBytes(await workersOf(durable, computeWork));
  if (availableBytes === undefined || fits(memory, availableBytes)) return;
  const remedies = [
    ...(base.quantized === undefined ? ['set base_quantization to NF4'] : []),
    ...(shape.longestRows > defaultRowLimit
      ? [`lower max_length (the longest pair has ${shape.longestRows} tokens)`]
      : []),
  ];
  throw outOfMemory('a reference worker', memory, availableBytes, remedies);
}
