import { loraLayout } from '@pairwise/model';
import type { BaseModel } from '@pairwise/model';
import { openSession } from '@pairwise/ort';
import { adapterFeeds, policyGraph, referenceGraph, treeLogps } from '@pairwise/training';
import type { PolicyLogps } from './verify.ts';
import type { Adapter } from './weights.ts';

/**
 * Computes logps of the policy in our own engine. The policy is a base model in a folder, with or without an adapter. A
 * session is open only during the computation.
 */
export function enginePolicy(options: {
  baseModel: BaseModel;
  folder: string;
  adapter: Adapter | undefined;
  threads: number;
}): PolicyLogps {
  const { baseModel, folder, adapter, threads } = options;
  return async (sequences, signal) => {
    const graph = adapter ? policyGraph(baseModel, adapter.lora) : referenceGraph(baseModel);
    const feeds = adapter ? adapterFeeds(loraLayout(baseModel.config, adapter.lora), adapter.parameters) : {};
    const session = await openSession({ graph, folder, threads });
    try {
      const trees = sequences.map(({ prompt, response }) => ({ prefix: prompt, branches: [response] }));
      const logps = await treeLogps(session.run, baseModel.config, trees, feeds, () => signal?.throwIfAborted());
      return logps.map(([response]) => response!);
    } finally {
      await session.close();
    }
  };
}
