import type { Reason } from '@pairwise/errors';
import { status } from '@grpc/grpc-js';

/** The gRPC status code of each reason. The comments of `ErrorReason` in the proto list the same codes. */
export const statusCodeOf: Record<Reason, status> = {
  INVALID_ARGUMENT: status.INVALID_ARGUMENT,
  INVALID_PAIR: status.INVALID_ARGUMENT,
  INVALID_FILE: status.INVALID_ARGUMENT,
  EMPTY_DATASET: status.FAILED_PRECONDITION,
  PROMPT_TOO_LONG: status.INVALID_ARGUMENT,
  UNKNOWN_FIELD: status.INVALID_ARGUMENT,
  INVALID_MODEL: status.INVALID_ARGUMENT,
  UNSUPPORTED_ARCHITECTURE: status.INVALID_ARGUMENT,
  UNSUPPORTED_CONFIG: status.INVALID_ARGUMENT,
  UNSUPPORTED_FORMAT: status.INVALID_ARGUMENT,
  MISSING_TENSOR: status.INVALID_ARGUMENT,
  WRONG_SHAPE: status.INVALID_ARGUMENT,
  NOT_FOUND: status.NOT_FOUND,
  ALREADY_EXISTS: status.ALREADY_EXISTS,
  REQUEST_ID_REUSED: status.ALREADY_EXISTS,
  ETAG_MISMATCH: status.ABORTED,
  WRONG_STATE: status.FAILED_PRECONDITION,
  IN_USE: status.FAILED_PRECONDITION,
  DIGEST_MISMATCH: status.FAILED_PRECONDITION,
  MISSING_LOGPS: status.FAILED_PRECONDITION,
  NON_FINITE: status.FAILED_PRECONDITION,
  VERIFICATION_FAILED: status.FAILED_PRECONDITION,
  STALE_ATTEMPT: status.ABORTED,
  CANCELLED: status.CANCELLED,
  DISK_FULL: status.RESOURCE_EXHAUSTED,
  DOWNLOAD_FAILED: status.UNAVAILABLE,
  UPLOAD_FAILED: status.UNAVAILABLE,
  DAMAGED_DATA: status.DATA_LOSS,
  OUT_OF_MEMORY: status.RESOURCE_EXHAUSTED,
  TOO_MANY_CALLS: status.RESOURCE_EXHAUSTED,
  OFFLINE: status.FAILED_PRECONDITION,
  UNAUTHENTICATED: status.UNAUTHENTICATED,
  PERMISSION_DENIED: status.PERMISSION_DENIED,
  UNAVAILABLE: status.UNAVAILABLE,
  INTERNAL: status.INTERNAL,
};

/** The reason for a status without details, as sent by gRPC itself or by another system's server. */
export const reasonOf: Record<status, Reason> = {
  [status.OK]: 'INTERNAL',
  [status.CANCELLED]: 'CANCELLED',
  [status.UNKNOWN]: 'INTERNAL',
  [status.INVALID_ARGUMENT]: 'INVALID_ARGUMENT',
  // Worth retrying: the server may be faster next time, or the caller may wait longer.
  [status.DEADLINE_EXCEEDED]: 'UNAVAILABLE',
  [status.NOT_FOUND]: 'NOT_FOUND',
  [status.ALREADY_EXISTS]: 'ALREADY_EXISTS',
  [status.PERMISSION_DENIED]: 'PERMISSION_DENIED',
  // grpc-js reports messages that are too large this way.
  [status.RESOURCE_EXHAUSTED]: 'INVALID_ARGUMENT',
  [status.FAILED_PRECONDITION]: 'WRONG_STATE',
  [status.ABORTED]: 'UNAVAILABLE',
  [status.OUT_OF_RANGE]: 'INVALID_ARGUMENT',
  [status.UNIMPLEMENTED]: 'INTERNAL',
  [status.INTERNAL]: 'INTERNAL',
  [status.UNAVAILABLE]: 'UNAVAILABLE',
  [status.DATA_LOSS]: 'DAMAGED_DATA',
  [status.UNAUTHENTICATED]: 'UNAUTHENTICATED',
};
