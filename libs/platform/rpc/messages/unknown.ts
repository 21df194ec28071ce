import { PairwiseError } from '@pairwise/errors';
import { visitFields } from './visitFields.ts';

/**
 * Refuses a message that sets a field unknown to this server, at any depth: ignoring the field would mean doing
 * something other than what was asked. `path` is the message's own path in the request, e.g. `spec`. Throws
 * UNKNOWN_FIELD with the path of the containing message and the number of the field.
 */
export function refuseUnknownFields(message: unknown, path: string): void {
  visitFields(message, path, (value, at) => {
    const [tag] = Object.keys((value as { _unknownFields?: object } | undefined)?._unknownFields ?? {});
    if (tag === undefined) return;
    const number = String(Number(tag) >>> 3);
    const problem = `${at} has field number ${number}, which this server does not know; is the client newer?`;
    throw new PairwiseError('UNKNOWN_FIELD', problem, { field: at, metadata: { fieldNumber: number } });
  });
}
