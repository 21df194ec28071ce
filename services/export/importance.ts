import { parseDigest } from '@pairwise/fingerprint';
import { modelTensors } from '@pairwise/gguf';
import type { Importance } from '@pairwise/llamacpp';
import { loraLayout } from '@pairwise/model';
import { openSession } from '@pairwise/ort';
import { unpackPairs } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import { adapterFeeds, importanceGraph, linearImportance } from '@pairwise/training';
import type { Source } from './source.ts';

/** The importance of weights is measured on the chosen responses of this many pairs. */
const importancePairs = 64;

/**
 * How much each weight matters when the model reads the first prompts and chosen responses that it was trained on: llama.cpp's
 * importance matrix. Throws the signal's reason.
 */
export async function importanceOf(
  { blobs, threads }: { blobs: BlobStore; threads: number },
  { baseModel, adapter, encoding }: Pick<Source, 'baseModel' | 'adapter' | 'encoding'>,
  signal: AbortSignal,
): Promise<Importance> {
  const { config } = baseModel;
  const pairs = unpackPairs(await blobs.get(parseDigest(encoding!.shardDigests[0]!))).slice(0, importancePairs);
  const trees = pairs.map(({ prompt, chosen }) => ({ prefix: prompt, branches: [chosen] }));
  const feeds = adapter ? adapterFeeds(loraLayout(config, adapter.lora), adapter.parameters) : {};
  const session = await openSession({ graph: importanceGraph(baseModel, adapter?.lora), folder: '/', threads });
  try {
    const found = await linearImportance(session.run, config, trees, feeds, () => signal.throwIfAborted());
    return new Map(
      modelTensors(config).flatMap(({ name, sources }) => {
        const importance = found.get(sources[0]);
        return importance ? [[name, importance]] : [];
      }),
    );
  } finally {
    await session.close();
  }
}
