import { PairwiseError } from '@pairwise/errors';

const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const isMessage = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !(value instanceof Date) && !(value instanceof Uint8Array);

/**
 * Refuses a message in which, at any depth, a field was set that this server does not know: ignoring it would be to do
 * something else than the caller asked for. `path` is the message's own place in the request, e.g. `spec`.
 * Throws UNKNOWN_FIELD with the path of the message that has it and the field's number.
 */
export function refuseUnknownFields(message: unknown, path: string): void {
  if (Array.isArray(message)) {
    for (const [index, each] of message.entries()) refuseUnknownFields(each, `${path}[${index}]`);
    return;
  }
  if (!isMessage(message)) return;
  const { _unknownFields: unknown, $case: chosen, ...fields } = message;
  // A oneof is an object {$case, value}, which the field's path leaves out.
  if (typeof chosen === 'string') {
    const parent = path.slice(0, path.lastIndexOf('.') + 1);
    refuseUnknownFields(fields['value'], parent + snakeCase(chosen));
    return;
  }
  const [tag] = Object.keys(unknown ?? {});
  if (tag !== undefined) {
    const number = String(Number(tag) >>> 3);
    const message = `${path} has a field of number ${number}, which this server does not know; is the client newer?`;
    throw new PairwiseError('UNKNOWN_FIELD', message, { field: path, metadata: { fieldNumber: number } });
  }
  for (const [name, value] of Object.entries(fields)) {
    refuseUnknownFields(value, path === '' ? snakeCase(name) : `${path}.${snakeCase(name)}`);
  }
}
