import { randomUUID } from 'node:crypto';
import { PairwiseError } from '@pairwise/errors';

/**
 * Returns the variable segments of a resource name: `parseName('projects/{project}/runs/{run}', name, 'name').run`.
 * Throws INVALID_ARGUMENT that names the field and the pattern.
 */
export function parseName<Pattern extends string>(
  pattern: Pattern,
  name: string,
  field: string,
): Record<VariablesOf<Pattern>, string> {
  const parts = pattern.split('/');
  const given = name.split('/');
  const fits = (part: string, index: number) =>
    part.startsWith('{') ? /^[a-z0-9][a-z0-9-]{0,63}$/.test(given[index] ?? '') : given[index] === part;
  if (parts.length !== given.length || !parts.every(fits)) {
    throw new PairwiseError('INVALID_ARGUMENT', `${field} is '${name.slice(0, 200)}'; it must be ${pattern}`, {
      field,
    });
  }
  const variables = parts.flatMap((part, index) => (part.startsWith('{') ? [[part.slice(1, -1), given[index]]] : []));
  return Object.fromEntries(variables) as Record<VariablesOf<Pattern>, string>;
}

type VariablesOf<Pattern extends string> = Pattern extends `${string}{${infer Name}}${infer Rest}`
  ? Name | VariablesOf<Rest>
  : never;

/**
 * Returns the last segment of a new resource's name: the caller's choice, or else `<prefix>-<8 random characters>`.
 * Throws INVALID_ARGUMENT unless the choice is a DNS label (RFC 1035, but it may begin with a digit) of at most 50
 * characters.
 */
export function newId(chosen: string, prefix: string, field: string): string {
  if (chosen === '') return `${prefix}-${randomUUID().slice(0, 8)}`;
  if (/^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$/.test(chosen)) return chosen;
  const message = `${field} is '${chosen.slice(0, 100)}'; it must be a DNS label: a-z, 0-9 and -, at most 50 characters`;
  throw new PairwiseError('INVALID_ARGUMENT', message, { field });
}
