import type { FileInfo } from '@pairwise/api';
import { work } from '@pairwise/durable';
import type { Digest } from '@pairwise/fingerprint';
import type { Unit } from './plan.ts';

/** What a worker computes in one go: the missing logps of some pairs under one model. */
export interface ComputeInput {
  coverage: string;
  referenceFingerprint: Digest;
  /** The model's files, as proto JSON. */
  files: unknown[];
  unit: Unit;
}

export type ModelFiles = readonly Pick<FileInfo, 'path' | 'digest'>[];

/** What the process that serves sees through: one of the times that a coverage was begun. */
export interface CoverInput {
  coverage: string;
  /** `CoverageRecord.attempt`. */
  attempt: number;
}

/** The planning of a coverage and the waiting for its units; executed by the process that serves. */
export const coverWork = work<CoverInput>('cover', 'coverages');

/** One unit; executed by the workers, which own the accelerators. */
export const computeWork = work<ComputeInput>('compute', 'accelerator');
