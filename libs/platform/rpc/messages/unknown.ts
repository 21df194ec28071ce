import { PairwiseError } from '@pairwise/errors';

/** `maxLength` as `max_length`, the name that a field has in the proto. */
export const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const isMessage = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !(value instanceof Date) && !(value instanceof Uint8Array);

/**
 * Refuses a message that sets a field unknown to this server, at any depth: ignoring the field would mean doing
 * something other than what was asked. `path` is the message's own path in the request, e.g. `spec`. Throws
 * UNKNOWN_FIELD with the path of the containing message and the number of the field.
 */
export function refuseUnknownFields(message: unknown, path: string): void {
  if (Array.isArray(message)) {
    for (const [index, each] of message.entries()) refuseUnknownFields(each, `${path}[${index}]`);
    return;
  }
  if (!isMessage(message)) return;
  const { _unknownFields: unknown, $case: chosen, ...fields } = message;
  // A oneof is an object {$case, value}, which does not appear in the field's path.
  if (typeof chosen === 'string') {
    const parent = path.slice(0, path.lastIndexOf('.') + 1);
    refuseUnknownFields(fields['value'], parent + snakeCase(chosen));
    return;
  }
  const [tag] = Object.keys(unknown ?? {});
  if (tag !== undefined) {
    const number = String(Number(tag) >>> 3);
    const message = `${path} has field number ${number}, which this server does not know; is the client newer?`;
    throw new PairwiseError('UNKNOWN_FIELD', message, { field: path, metadata: { fieldNumber: number } });
  }
  for (const [name, value] of Object.entries(fields)) {
    refuseUnknownFields(value, path === '' ? snakeCase(name) : `${path}.${snakeCase(name)}`);
  }
}
