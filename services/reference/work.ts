import { work } from '@pairwise/durable';
import type { Digest } from '@pairwise/fingerprint';
import type { Unit } from './plan.ts';

/** A unit: the missing logps of some pairs under one model. */
export interface ComputeInput {
  coverage: string;
  referenceFingerprint: Digest;
  /** The model's files, as proto JSON. */
  files: unknown[];
  /** The file with its quantised linear layers, as proto JSON. Default: none. */
  quantized?: unknown;
  unit: Unit;
  /** What a worker needs for it according to the plan. Default: unknown, as in units that an older version has planned. */
  memoryBytes?: number | undefined;
}

/** One attempt of a coverage. */
export interface CoverInput {
  coverage: string;
  /** `CoverageRecord.attempt`. */
  attempt: number;
  /**
   * The rate that was measured before the attempt, in multiply-adds per second; undefined if none was. Part of the input, so
   * that a plan that is repeated after a crash makes the same units, whatever was measured meanwhile.
   */
  rate?: number | undefined;
}

/** Plans a coverage and waits for its units. The service executes it. */
export const coverWork = work<CoverInput>('cover', 'coverages');

/** Computes one unit. Workers execute it, since they own the accelerators. */
export const computeWork = work<ComputeInput>('compute', 'accelerator');
