import { rowCount, type TokenTree } from '@pairwise/model';
import { shuffled } from './random.ts';

/**
 * The positions of the pairs of an optimizer step; steps count from 0. Each epoch takes every pair once, in an order that
 * depends on the seed and the epoch. The last batch of an epoch may be smaller.
 */
export function batchOfStep(step: number, pairCount: number, batchSize: number, seed: number): Int32Array {
  const stepsPerEpoch = Math.ceil(pairCount / batchSize);
  const epoch = Math.floor(step / stepsPerEpoch);
  const start = (step % stepsPerEpoch) * batchSize;
  return shuffled(pairCount, seed, `epoch ${epoch}`).slice(start, start + batchSize);
}

/** The most rows of a micro-batch: enough for efficient products with little memory. A longer tree gets a micro-batch of its own. */
const defaultRowLimit = 1024;

/**
 * Splits a batch into micro-batches, as lists of positions in `trees`. Trees are sorted by length, so that the
 * micro-batches do not depend on their order, and cut by rows, since peak memory follows the largest micro-batch.
 */
export function planMicroBatches(trees: readonly TokenTree[], rowLimit = defaultRowLimit): number[][] {
  const rows = trees.map(rowCount);
  const order = trees.map((_, index) => index).sort((a, b) => rows[b]! - rows[a]! || a - b);
  const parts: number[][] = [];
  let rowTotal = Infinity;
  for (const index of order) {
    if (rowTotal + rows[index]! > rowLimit) {
      parts.push([]);
      rowTotal = 0;
    }
    parts.at(-1)!.push(index);
    rowTotal += rows[index]!;
  }
  return parts;
}
