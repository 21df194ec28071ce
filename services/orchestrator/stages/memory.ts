import type { TrainingEstimate, InspectModelResponse } from '@pairwise/api';
import { plannedBytes } from '@pairwise/rpc';
import { estimateTraining } from '../estimate.ts';
import { outputsOf, parentOf } from '../run.ts';
import type { NewEvent } from '../runLog.ts';
import type { ResolvedSpec, ResolvedTraining } from '../spec/resolved.ts';
import type { StageContext } from './context.ts';
import type { EncodedSet } from './pairs.ts';

/** How a run's training fits into the memory of its workers. */
export interface MemoryPlan {
  /** What is pinned in the spec, so that every worker computes the same bytes. */
  pins: Partial<Pick<ResolvedTraining, 'activationCheckpointing' | 'microBatchRows'>>;
  event: NewEvent;
}

/** Plans the memory of the training. Throws OUT_OF_MEMORY if it does not fit into that of every worker. */
export async function planMemory(
  { run, spec, peers, signal }: StageContext,
  inspected: InspectModelResponse,
  sets: readonly [EncodedSet, ...EncodedSet[]],
): Promise<MemoryPlan> {
  const [training, ...others] = sets.map(({ encoding }) => encoding);
  const planned = await estimateTraining(peers, parentOf(run), spec, inspected, [training!, ...others], { signal });
  const { activationCheckpointing, microBatchRows } = planned.resolvedSpec!;
  // Without a worker, the one that trains pins them. A training that has started has its own.
  const isOpen = planned.workerCount > 0 && outputsOf(run).training === '';
  return {
    pins: isOpen ? { activationCheckpointing, microBatchRows: microBatchRows! } : {},
    event: eventOf(planned, spec),
  };
}

function eventOf({ memory, durationSeconds, stepCount }: TrainingEstimate, { evaluation }: ResolvedSpec): NewEvent {
  const needed = `Training needs ${gigabytes(plannedBytes(memory!))} of memory`;
  const available = memory!.availableBytes > 0n ? ` of its worker's ${gigabytes(memory!.availableBytes)}` : '';
  const time = durationSeconds === undefined ? '' : `, about ${Math.max(1, Math.round(durationSeconds / 60))} min`;
  const steps = `${evaluation?.$case === 'evalFraction' ? 'about ' : ''}${stepCount} steps`;
  return {
    type: 'training.planned',
    stage: 'validate',
    message: `${needed}${available} for ${steps}${time}.`,
  };
}

const gigabytes = (bytes: bigint) => `${(Number(bytes) / 1e9).toFixed(1)} GB`;
