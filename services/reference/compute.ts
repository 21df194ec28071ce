import { CoverageState } from '@pairwise/api';
import type { Attempt } from '@pairwise/durable';
import type { BlobStore } from '@pairwise/store';
import { count, record, type Log } from '@pairwise/telemetry';
import { tokenCount } from '@pairwise/training';
import { unitPairs } from './cover.ts';
import type { Coverages } from './coverages.ts';
import type { Logps } from './logps.ts';
import { missingPairs, responsesOf } from './plan.ts';
import type { ReferenceModel } from './referenceModel.ts';
import type { ResponseLogps } from './shard.ts';
import type { ComputeInput } from './work.ts';

/** What a worker computes with. */
export interface Computing {
  blobs: BlobStore;
  coverages: Coverages;
  logps: Logps;
  reference: ReferenceModel;
  log: Log;
}

/**
 * Computes the logps of a unit's responses that are still missing, stores them, and counts them on the coverage: all in
 * one transaction behind the fence, so that nothing is counted twice and a worker given up for dead writes nothing.
 */
export async function compute(computing: Computing, input: ComputeInput, attempt: Attempt): Promise<void> {
  const { blobs, coverages, logps, reference, log } = computing;
  const { coverage: name, referenceFingerprint: fingerprint } = input;
  await attempt.step('compute', async (signal) => {
    if ((await coverages.get(name)).coverage.state !== CoverageState.COMPUTING) return;
    const pairs = await unitPairs(blobs, input.unit);
    const present = await logps.present(fingerprint, responsesOf(pairs));
    const missing = missingPairs(pairs, present);
    if (missing.length === 0) return;
    const began = performance.now();
    const computed = await reference.logps(input.files, missing, signal);
    const entries = distinct(computed).filter(({ response }) => !present.has(response));
    const shard = await logps.put(entries);
    await coverages.change(name, async ({ coverage }, tx) => {
      await attempt.fence(tx);
      // Another coverage may have got some of them into the store meanwhile.
      const added = await logps.index(tx, fingerprint, shard, entries);
      coverage.computedCount += added.length;
      coverage.computedTokenCount += BigInt(added.reduce((sum, tokens) => sum + tokens, 0));
      coverage.updateTime = new Date();
      return true;
    });
    record('pairwise.reference.shard.duration', (performance.now() - began) / 1000, {});
    count('pairwise.tokens', tokenCount(missing), { 'pairwise.activity': 'reference' });
    log.info({ coverage: name, start: input.unit.start, responses: entries.length }, 'computed a unit');
  });
}

/** The entries without repetitions: several pairs may share a response. */
function distinct(entries: readonly ResponseLogps[]): ResponseLogps[] {
  return [...new Map(entries.map((entry) => [entry.response, entry])).values()];
}
