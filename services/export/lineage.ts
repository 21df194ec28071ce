import type { Checkpoint, DatasetVersion, Encoding, MetricPoint, Training } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Peers } from './peers.ts';

/** Where a trained adapter comes from. */
export interface Lineage {
  checkpoint: Checkpoint;
  training: Training;
  /** Undefined if it was deleted. */
  encoding: Encoding | undefined;
  /** Undefined if it was deleted. */
  version: DatasetVersion | undefined;
  /** Each metric's first and last value up to the checkpoint's step, by its name. */
  metrics: ReadonlyMap<string, { first: number; last: number }>;
}

/** Reads where a checkpoint comes from. Throws NOT_FOUND if its training was deleted, and the signal's reason. */
export async function lineageOf(
  { dataset, training: trainings }: Peers,
  checkpoint: Checkpoint,
  signal: AbortSignal,
): Promise<Lineage> {
  const [trainingName = ''] = checkpoint.name.split('/checkpoints/');
  const [versionName = ''] = checkpoint.encoding.split('/encodings/');
  const encoded = await unlessDeleted(dataset.getEncoding({ name: checkpoint.encoding }, { signal }));
  const sealed = await unlessDeleted(dataset.getDatasetVersion({ name: versionName }, { signal }));
  const points: MetricPoint[] = [];
  for await (const { payload } of trainings.watchTraining({ name: trainingName, afterSequence: 0n }, { signal })) {
    if (payload?.$case === 'metrics' && payload.value.step <= checkpoint.step) points.push(payload.value);
    if (payload?.$case !== 'training') continue;
    // It follows the metric points that exist, even if the training has not ended.
    return {
      checkpoint,
      training: payload.value,
      encoding: encoded?.encoding,
      version: sealed?.version,
      metrics: firstAndLast(points),
    };
  }
  signal.throwIfAborted();
  throw new TypeError('the stream ended without the training');
}

async function unlessDeleted<T>(resource: Promise<T>): Promise<T | undefined> {
  try {
    return await resource;
  } catch (error) {
    if (error instanceof PairwiseError && error.reason === 'NOT_FOUND') return undefined;
    throw error;
  }
}

function firstAndLast(points: readonly MetricPoint[]): Lineage['metrics'] {
  const metrics = new Map<string, { first: number; last: number }>();
  for (const [name, value] of points.flatMap(({ values }) => Object.entries(values))) {
    metrics.set(name, { first: metrics.get(name)?.first ?? value, last: value });
  }
  return metrics;
}
