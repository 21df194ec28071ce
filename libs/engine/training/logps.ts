import { packTrees, type Feed, type ModelConfig, type TokenTree } from '@pairwise/model';
import { planMicroBatches } from './batches.ts';
import { microBatchResults, type RunGraph, type StopCheck } from './microBatches.ts';

/**
 * Per-token logps of every branch of every tree, in nats, from a graph with the output `token_logps`. `constants`, such as an
 * adapter, are fed with every micro-batch.
 */
export async function treeLogps(
  run: RunGraph,
  config: ModelConfig,
  trees: readonly TokenTree[],
  constants: Record<string, Feed> = {},
  stopCheck?: StopCheck,
): Promise<Float32Array[][]> {
  const logps: Float32Array[][] = trees.map(() => []);
  const parts = planMicroBatches(trees);
  const pack = (part: readonly number[]) =>
    packTrees(
      part.map((index) => trees[index]!),
      config,
    );
  for await (const { part, packed, results } of microBatchResults(run, parts, pack, constants, stopCheck)) {
    const values = results['token_logps']!.data as Float32Array;
    for (const { tree, branch, start, end } of packed.branches) {
      logps[part[tree]!]![branch] = values.slice(start, end);
    }
  }
  return logps;
}
