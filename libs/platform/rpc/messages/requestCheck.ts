import { enumFields } from '@pairwise/api';
import { refuseField } from './field.ts';
import { visitFields } from './visitFields.ts';

/** Far more than any string needs. Many fields have a limit of their own, which is lower. */
const maxCharacters = 16_384;

/**
 * Returns the check of all requests of a method. It throws INVALID_ARGUMENT, with the path of the field, for an enum value that
 * this server does not know; for a string that is longer than any needs to be, since most of them are stored and returned in
 * lists; and for one that contains a NUL, which Postgres cannot store.
 */
export function requestCheckOf(methodPath: string): (request: unknown) => void {
  const enums = enumFields[methodPath] ?? {};
  return (request) => {
    visitFields(request, '', (value, path) => {
      if (typeof value === 'string') checkString(value, path);
      if (typeof value !== 'number') return;
      const type = enums[path.replaceAll(/\[\d+\]/g, '')];
      if (type !== undefined) checkEnum(value, type, path);
    });
  };
}

function checkString(value: string, path: string): void {
  if (value.length > maxCharacters) {
    refuseField(path, `has ${value.length} characters; at most ${maxCharacters} are allowed`);
  }
  if (value.includes('\0')) refuseField(path, 'contains a NUL character; remove it');
}

function checkEnum(value: number, type: Readonly<Record<string, number>>, path: string): void {
  const known = Object.entries(type);
  if (known.some(([, number]) => number === value)) return;
  const names = known.map(([name, number]) => `${number} (${name})`).join(', ');
  refuseField(path, `is ${value}, which this server does not know; it knows ${names}`);
}
