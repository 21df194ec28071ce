import { rowCount, type TokenTree } from '@pairwise/model';
import { shuffled } from './random.ts';

/**
 * The positions of the pairs of each optimizer step; steps count from 0. Each epoch takes every pair once, in an order that
 * depends on the seed and the epoch. The last batch of an epoch may be smaller. The order of the last epoch that was asked
 * for is kept, so that it is made once.
 */
export function batchOrder(pairCount: number, batchSize: number, seed: number): (step: number) => Int32Array {
  const stepsPerEpoch = Math.ceil(pairCount / batchSize);
  let last: { epoch: number; order: Int32Array } = { epoch: -1, order: new Int32Array() };
  return (step) => {
    const epoch = Math.floor(step / stepsPerEpoch);
    if (last.epoch !== epoch) last = { epoch, order: shuffled(pairCount, seed, `epoch ${epoch}`) };
    const start = (step % stepsPerEpoch) * batchSize;
    return last.order.slice(start, start + batchSize);
  };
}

/** The most rows of a micro-batch: enough for efficient products with little memory. A longer tree gets a micro-batch of its own. */
export const defaultRowLimit = 1024;

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
