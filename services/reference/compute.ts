import { CoverageState } from '@pairwise/api';
import type { Rates } from '@pairwise/database';
import { declineUnlessFits, type Attempt } from '@pairwise/durable';
import type { BlobStore } from '@pairwise/store';
import { count, record, type Log } from '@pairwise/telemetry';
import { tokenCount } from '@pairwise/training';
import type { Coverages } from './coverages.ts';
import type { Logps } from './logps.ts';
import { missingPairs, responsesOf, unitPairs } from './plan.ts';
import type { ReferenceModel } from './referenceModel.ts';
import type { ResponseLogps } from './shard.ts';
import type { ComputeInput } from './work.ts';

export interface ComputeDeps {
  blobs: BlobStore;
  coverages: Coverages;
  logps: Logps;
  reference: ReferenceModel;
  rates: Rates;
  /** The numerics profile of this worker. */
  numericsProfile: string;
  /** The memory that this worker can use, in bytes; undefined if it is unknown. */
  availableBytes: number | undefined;
  log: Log;
}

/**
 * Computes the logps of a unit's responses that are still missing, stores them, and counts them on the coverage. Storing
 * and counting are one fenced transaction, so nothing is counted twice, and a worker whose work was given to another one
 * writes nothing.
 */
export async function compute(deps: ComputeDeps, input: ComputeInput, attempt: Attempt): Promise<void> {
  const { blobs, coverages, logps, reference, rates, numericsProfile, availableBytes, log } = deps;
  const { coverage: name, referenceFingerprint: fingerprint, memoryBytes = 0 } = input;
  await attempt.activity('compute', async (signal) => {
    if ((await coverages.get(name)).coverage.state !== CoverageState.COMPUTING) return;
    const pairs = await unitPairs(blobs, input.unit);
    const present = await logps.present(fingerprint, responsesOf(pairs));
    const missing = missingPairs(pairs, present);
    if (missing.length === 0) return;
    declineUnlessFits(memoryBytes, availableBytes);
    const startMs = performance.now();
    const { logps: computed, rate } = await reference.logps(input, missing, signal);
    const entries = distinct(computed).filter(({ response }) => !present.has(response));
    const shard = await logps.put(entries);
    await coverages.change(name, async ({ coverage }, tx) => {
      await attempt.fence(tx);
      // Fewer than `entries` if another coverage has stored some of them meanwhile.
      const added = await logps.index(tx, fingerprint, shard, entries);
      if (rate !== undefined) await rates.add(tx, numericsProfile, rate);
      coverage.computedCount += added.length;
      coverage.computedTokenCount += BigInt(added.reduce((sum, tokens) => sum + tokens, 0));
      coverage.updateTime = new Date();
      return 'changed' as const;
    });
    record('pairwise.reference.shard.duration', (performance.now() - startMs) / 1000, {});
    count('pairwise.tokens', tokenCount(missing), { 'pairwise.activity': 'reference' });
    log.info({ coverage: name, start: input.unit.start, responses: entries.length }, 'computed a unit');
  });
}

/** One entry per response: several pairs may share a response. */
function distinct(entries: readonly ResponseLogps[]): ResponseLogps[] {
  return [...new Map(entries.map((entry) => [entry.response, entry])).values()];
}
