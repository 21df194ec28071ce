import { PairwiseError } from '@pairwise/errors';
import { z } from 'zod';

/**
 * Roles in a project; each includes the ones before it. A reader reads, a submitter also creates, runs and cancels, an
 * admin also deletes.
 */
export const roles = ['reader', 'submitter', 'admin'] as const;
export type Role = (typeof roles)[number];

const project = z
  .string()
  .regex(/^(\*|projects\/[a-z0-9][a-z0-9-]{0,63})$/, 'must be projects/<id>, or * for all projects');

const entry = z.strictObject({
  /** Identifies the entry in messages. */
  name: z.string().regex(/^[\w.@-]{1,64}$/, 'must be 1 to 64 letters, digits or any of . _ @ -'),
  /** Of the token only, without a line break: `printf %s "$token" | sha256sum`. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be the sha256 of the token, 64 lower-case hexadecimal digits'),
  roles: z
    .record(project, z.enum(roles, `must be one of ${roles.join(', ')}`))
    .refine((given) => Object.keys(given).length > 0, 'must name at least one project'),
});

/** A token: who holds it, and which roles it grants. */
export type AccessEntry = z.infer<typeof entry>;

const unique = (field: 'name' | 'sha256') => (entries: AccessEntry[]) =>
  new Set(entries.map((each) => each[field])).size === entries.length;

const file = z
  .array(entry, 'must be a list')
  .min(1, 'must name at least one token')
  .refine(unique('name'), 'has one name twice')
  .refine(unique('sha256'), 'has one sha256 twice');

/**
 * Parses an access file: a JSON list of `{name, sha256, roles: {"projects/<id>" or "*": role}}`. Throws
 * INVALID_ARGUMENT with all problems at once, one per line. `path` is used in the messages.
 */
export function parseAccess(text: string, path: string): AccessEntry[] {
  const parsed = file.safeParse(json(text, path));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => {
    const where = issue.path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
    return `${where === '' ? 'the file' : where} ${issue.code === 'invalid_key' ? issue.issues[0]!.message : issue.message}`;
  });
  throw unusable(path, `\n  ${problems.join('\n  ')}`);
}

function json(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message would quote part of the file.
    throw unusable(path, ' it is not valid JSON');
  }
}

const unusable = (path: string, problems: string) =>
  new PairwiseError('INVALID_ARGUMENT', `the access file ${path} is unusable:${problems}`, {
    field: 'PAIRWISE_ACCESS_FILE',
  });
