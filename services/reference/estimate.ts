import { LogpsEstimate } from '@pairwise/api';
import type { Rates } from '@pairwise/database';
import { leastMemoryBytes, workersOf, type Durable } from '@pairwise/durable';
import { parseDigest } from '@pairwise/fingerprint';
import { readStoredModel } from '@pairwise/model';
import { quantizedFile, workerMemory } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { forwardOperations, referenceMemory } from '@pairwise/training';
import { fingerprintOfModel, type CoverageInputs } from './coverages.ts';
import type { Logps } from './logps.ts';
import { planEncoding, unitOperations } from './plan.ts';
import { storedFile } from './referenceModel.ts';
import { computeWork } from './work.ts';

export interface EstimateDeps {
  blobs: BlobStore;
  logps: Logps;
  rates: Rates;
  durable: Pick<Durable, 'queues'>;
  /** The numerics profile of the workers. */
  numericsProfile: string;
}

/** What a coverage of an encoding under a model would compute, and what that takes. Throws WRONG_STATE if the model is not ready. */
export async function estimate(
  deps: EstimateDeps,
  { model, baseQuantization, encoding }: Pick<CoverageInputs, 'model' | 'baseQuantization' | 'encoding'>,
): Promise<LogpsEstimate> {
  const { blobs, rates, durable, numericsProfile } = deps;
  const referenceFingerprint = fingerprintOfModel(model, baseQuantization, numericsProfile);
  const layers = quantizedFile(model, baseQuantization, 'base_quantization');
  const base = await readStoredModel(model.files.map(storedFile), blobs, layers && storedFile(layers));
  const rate = await rates.of(numericsProfile);
  const plan = await planEncoding(deps, {
    referenceFingerprint,
    shards: encoding.shardDigests.map(parseDigest),
    config: base.config,
    mostOperations: unitOperations(numericsProfile, rate),
  });
  const workers = await workersOf(durable, computeWork);
  const operations = forwardOperations(base.config, plan.missing);
  const isMissing = plan.units.length > 0;
  return LogpsEstimate.create({
    responseCount: plan.responseCount,
    missingCount: plan.responseCount - plan.presentCount,
    missingTokenCount: BigInt(plan.missing.rows),
    durationSeconds: isMissing ? rate && operations / rate : 0,
    workerCount: workers.length,
    memory: isMissing ? workerMemory(referenceMemory(base, plan.shape), leastMemoryBytes(workers)) : undefined,
  });
}
