import { PairwiseError, type Reason } from '@pairwise/errors';

/** A PairwiseError as JSON, as it is kept in the history of a workflow. */
export interface KeptError {
  reason: Reason;
  message: string;
  field?: string;
  metadata: Record<string, string>;
}

/** What is kept of an error. One that is no PairwiseError is a defect, of which only the log tells. */
export function keep(error: unknown): KeptError {
  if (!(error instanceof PairwiseError)) {
    return { reason: 'INTERNAL', message: 'a defect of the server; its log has the details', metadata: {} };
  }
  const { reason, message, field, metadata } = error;
  return { reason, message, metadata, ...(field === undefined ? {} : { field }) };
}

/** The error again. */
export function revive({ reason, message, field, metadata }: KeptError): PairwiseError {
  return new PairwiseError(reason, message, { metadata, ...(field === undefined ? {} : { field }) });
}
