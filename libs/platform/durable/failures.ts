import { PairwiseError, type Reason } from '@pairwise/errors';

/** A PairwiseError as JSON, the form in which the history of a workflow stores it. */
export interface KeptError {
  reason: Reason;
  message: string;
  field?: string;
  metadata: Record<string, string>;
}

/** Converts an error to its stored form. Anything but a PairwiseError is a bug, and only the log has its details. */
export function keep(error: unknown): KeptError {
  if (!(error instanceof PairwiseError)) {
    return { reason: 'INTERNAL', message: "internal error; the server's log has the details", metadata: {} };
  }
  const { reason, message, field, metadata } = error;
  return { reason, message, metadata, ...(field === undefined ? {} : { field }) };
}

/** Restores a stored error. */
export function revive({ reason, message, field, metadata }: KeptError): PairwiseError {
  return new PairwiseError(reason, message, { metadata, ...(field === undefined ? {} : { field }) });
}
