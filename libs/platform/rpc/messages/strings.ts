import { refuseField } from './field.ts';
import { visitFields } from './fields.ts';

/** Far more than any field needs. Many fields have a limit of their own, which is lower. */
const maxCharacters = 16_384;

/**
 * Refuses a request with a string that is longer than any needs to be, since most of them are stored and returned in lists, or
 * that contains a NUL, which Postgres cannot store. Throws INVALID_ARGUMENT with the path of the field.
 */
export function refuseBadStrings(request: unknown): void {
  visitFields(request, '', (value, path) => {
    if (typeof value !== 'string') return;
    if (value.length > maxCharacters) {
      refuseField(path, `has ${value.length} characters; at most ${maxCharacters} are allowed`);
    }
    if (value.includes('\0')) refuseField(path, 'contains a NUL character; remove it');
  });
}
