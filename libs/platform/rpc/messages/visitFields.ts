const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The path of a field of the message at `path`, with the name that it has in the proto. */
const pathOf = (path: string, name: string) => (path === '' ? snakeCase(name) : `${path}.${snakeCase(name)}`);

const isMessage = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !(value instanceof Date) && !(value instanceof Uint8Array);

/**
 * Calls `visit` with a value of a message, and with all values within it, at any depth, each with its path in the request.
 * `path` is the value's own path; empty for a whole request.
 */
export function visitFields(value: unknown, path: string, visit: (value: unknown, path: string) => void): void {
  if (Array.isArray(value)) {
    for (const [index, each] of value.entries()) visitFields(each, `${path}[${index}]`, visit);
    return;
  }
  if (!isMessage(value)) {
    visit(value, path);
    return;
  }
  const { $case: chosen, ...fields } = value;
  // A oneof is an object {$case, value}, which does not appear in the field's path.
  if (typeof chosen === 'string') {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf('.')));
    visitFields(fields['value'], pathOf(parent, chosen), visit);
    return;
  }
  visit(value, path);
  for (const [name, field] of Object.entries(fields)) {
    if (name !== '_unknownFields') visitFields(field, pathOf(path, name), visit);
  }
}
