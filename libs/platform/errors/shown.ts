/**
 * Formats a value from a user's file for a message: JSON of at most 100 characters. Lists and objects are not shown in
 * full, since they may be nested too deeply for JSON.stringify.
 */
export function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = value === undefined ? 'missing' : JSON.stringify(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
