/**
 * Every reason why Pairwise refuses or fails, as callers see it in `google.rpc.ErrorInfo.reason` (domain
 * `pairwise`). The list is closed and callers branch on it, so names never change.
 */
export const reasons = [
  'INVALID_ARGUMENT',
  'INVALID_PAIR',
  'INVALID_FILE',
  'EMPTY_DATASET',
  'PROMPT_TOO_LONG',
  'UNKNOWN_FIELD',
  'INVALID_MODEL',
  'UNSUPPORTED_ARCHITECTURE',
  'UNSUPPORTED_CONFIG',
  'UNSUPPORTED_FORMAT',
  'MISSING_TENSOR',
  'WRONG_SHAPE',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'REQUEST_ID_REUSED',
  'ETAG_MISMATCH',
  'WRONG_STATE',
  'IN_USE',
  'DIGEST_MISMATCH',
  'MISSING_LOGPS',
  'NON_FINITE',
  'VERIFICATION_FAILED',
  'STALE_ATTEMPT',
  'CANCELLED',
  'DISK_FULL',
  'DOWNLOAD_FAILED',
  'OFFLINE',
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'UNAVAILABLE',
  'INTERNAL',
  'OUT_OF_MEMORY',
  'TOO_MANY_CALLS',
  'UPLOAD_FAILED',
  'DAMAGED_DATA',
] as const;

export type Reason = (typeof reasons)[number];

export interface PairwiseErrorDetails {
  /** Path of the offending field in the request, e.g. `spec.training.beta`. */
  field?: string;
  /** Short machine-readable facts (line numbers, names, sizes); never prompt or response text. */
  metadata?: Record<string, string>;
  cause?: unknown;
}

/** The only error class. The message names the field, what is wrong with its value, and the remedy. */
export class PairwiseError extends Error {
  readonly reason: Reason;
  readonly field: string | undefined;
  readonly metadata: Record<string, string>;

  constructor(reason: Reason, message: string, details: PairwiseErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'PairwiseError';
    this.reason = reason;
    this.field = details.field;
    this.metadata = details.metadata ?? {};
  }
}
