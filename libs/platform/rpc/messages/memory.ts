import { ActivationCheckpointing, WorkerMemory } from '@pairwise/api';

/** What the backward pass recomputes. Default: AUTO. */
export function resolveActivationCheckpointing(choice: ActivationCheckpointing | undefined): ActivationCheckpointing {
  const isUnset = choice === undefined || choice === ActivationCheckpointing.UNSPECIFIED;
  return isUnset ? ActivationCheckpointing.AUTO : choice;
}

/** Planned parts of a worker's memory, in bytes; structurally the engine's `Memory`. */
interface PlannedMemory {
  weightBytes: number;
  activationBytes: number;
  adapterBytes: number;
  processBytes: number;
}

/** A plan as a message. `availableBytes` is what the worker may use, if that is known. */
export function workerMemory(planned: PlannedMemory, availableBytes: number | undefined): WorkerMemory {
  return WorkerMemory.create({
    weightBytes: BigInt(planned.weightBytes),
    activationBytes: BigInt(planned.activationBytes),
    adapterBytes: BigInt(planned.adapterBytes),
    processBytes: BigInt(planned.processBytes),
    availableBytes: BigInt(availableBytes ?? 0),
  });
}

/** What a worker takes at its peak according to the plan, in bytes. */
export function plannedBytes({ weightBytes, activationBytes, adapterBytes, processBytes }: WorkerMemory): bigint {
  return weightBytes + activationBytes + adapterBytes + processBytes;
}
