/**
 * A value out of somebody's file, for a message: JSON of at most 100 characters. Lists and objects are only named, since
 * they may be nested more deeply than JSON.stringify can follow.
 */
export function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = value === undefined ? 'missing' : JSON.stringify(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
