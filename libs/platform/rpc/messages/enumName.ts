/**
 * The name of an enum value, or its number if this build does not know it.
 * @example enumName(RunState, run.state) // 'RUNNING'
 */
export function enumName<E extends Readonly<Record<string, number>>>(type: E, value: E[keyof E]): string {
  return Object.keys(type).find((name) => type[name] === value) ?? String(value);
}
