import { packTrees, type Feed, type ModelConfig, type TokenTree } from '@pairwise/model';
import { planMicroBatches } from './batches.ts';

/** Runs a compiled graph, as the `run` of a session of libs/engine/ort does. */
export type RunGraph = (feeds: Record<string, Feed>) => Promise<Readonly<Record<string, { data: unknown }>>>;

/** Is called before every micro-batch; throws to stop. */
export type StopCheck = () => void | Promise<void>;

/**
 * Per-token logps of every branch of every tree, in nats, from a graph with the output `token_logps`. `constants`, such as an
 * adapter, are fed with every micro-batch.
 */
export async function treeLogps(
  run: RunGraph,
  config: ModelConfig,
  trees: readonly TokenTree[],
  constants: Record<string, Feed> = {},
  stopCheck: StopCheck = () => undefined,
): Promise<Float32Array[][]> {
  const logps: Float32Array[][] = trees.map(() => []);
  for (const part of planMicroBatches(trees)) {
    await stopCheck();
    const { feeds, branches } = packTrees(
      part.map((index) => trees[index]!),
      config,
    );
    const { token_logps: result } = await run({ ...feeds, ...constants });
    const values = result!.data as Float32Array;
    for (const { tree, branch, start, end } of branches) logps[part[tree]!]![branch] = values.slice(start, end);
  }
  return logps;
}
