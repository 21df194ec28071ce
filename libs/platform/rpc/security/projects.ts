/** The first two segments of a resource name, if they name a project. */
const projectOf = (name: string): string | undefined => /^projects\/[a-z0-9][a-z0-9-]{0,63}(?=\/|$)/.exec(name)?.[0];

/**
 * The project that a request is about: that of its `name` or `parent`, or of the header that begins an upload.
 * Undefined if it names none.
 */
export function projectOfRequest(request: unknown): string | undefined {
  const { name, parent, payload } = request as { name?: unknown; parent?: unknown; payload?: { value: unknown } };
  if (payload !== undefined) return projectOfRequest(payload.value);
  const given = name ?? parent;
  return typeof given === 'string' ? projectOf(given) : undefined;
}

/** Every project that a request names anywhere: what it names is read on the caller's behalf. */
export function projectsIn(value: unknown): Set<string> {
  const found = new Set<string>();
  const visit = (one: unknown): void => {
    if (typeof one === 'string') {
      const project = projectOf(one);
      if (project !== undefined) found.add(project);
    } else if (typeof one === 'object' && one !== null && !ArrayBuffer.isView(one)) {
      Object.values(one).forEach(visit);
    }
  };
  visit(value);
  return found;
}
