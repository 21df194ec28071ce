import { rowCount, targetCount, type ModelConfig, type TokenTree } from '@pairwise/model';
import { shuffled } from './random.ts';

/**
 * Positions of the pairs of an optimizer step, counted from 0: each epoch takes every pair once, in an order of its own
 * that the seed decides. The last batch of an epoch may be smaller.
 */
export function batchOfStep(step: number, pairCount: number, batchSize: number, seed: number): Int32Array {
  const stepsPerEpoch = Math.ceil(pairCount / batchSize);
  const epoch = Math.floor(step / stepsPerEpoch);
  const start = (step % stepsPerEpoch) * batchSize;
  return shuffled(pairCount, seed, `epoch ${epoch}`).slice(start, start + batchSize);
}

/** Rows of a micro-batch: enough for efficient products, and little memory. One longer tree goes alone. */
export const defaultRowLimit = 1024;
/** Largest matrix of logits, in bytes; a few of them exist at the same time. */
const logitBytesLimit = 64 * 1024 * 1024;

/**
 * Parts of a batch that go through the graph one after the other, as positions in `trees`. Sorted by length, so that
 * attention pads little; cut by rows, since peak memory follows the largest micro-batch.
 */
export function planMicroBatches(
  trees: readonly TokenTree[],
  { vocabularySize }: ModelConfig,
  rowLimit = defaultRowLimit,
): number[][] {
  const targetLimit = logitBytesLimit / (vocabularySize * 4);
  const rows = trees.map(rowCount);
  const order = trees.map((_, index) => index).sort((a, b) => rows[b]! - rows[a]! || a - b);
  const parts: number[][] = [];
  let rowTotal = Infinity;
  let targetTotal = Infinity;
  for (const index of order) {
    const targets = targetCount(trees[index]!);
    if (rowTotal + rows[index]! > rowLimit || targetTotal + targets > targetLimit) {
      parts.push([]);
      rowTotal = 0;
      targetTotal = 0;
    }
    parts.at(-1)!.push(index);
    rowTotal += rows[index]!;
    targetTotal += targets;
  }
  return parts;
}
