import { PairwiseError, shown } from '@pairwise/errors';

/** config.json, or an object inside it. */
export type ConfigObject = Record<string, unknown>;

/** The largest size that is accepted: far above that of any model, yet so small that no product of sizes overflows. */
const largest = 2 ** 26;

/** Reads whole numbers from 1 to `most`. */
export function counter(json: ConfigObject) {
  return (field: string, otherwise?: number, most = largest): number => {
    const value = json[field] ?? otherwise;
    if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most) return value as number;
    throw invalidField(field, `is ${shown(value)}; it must be a whole number from 1 to ${most}`);
  };
}

/** The smallest factor or epsilon that is accepted; the largest is its inverse. float32 holds both and their products. */
const smallestReal = 1e-16;

/** Reads a positive number. */
export function real(json: ConfigObject, field: string, otherwise?: number): number {
  const value = json[field] ?? otherwise;
  if (typeof value === 'number' && value >= smallestReal && value <= 1 / smallestReal) return value;
  throw invalidField(field, `is ${shown(value)}; it must be a number from ${smallestReal} to ${1 / smallestReal}`);
}

/** Reads a boolean, by default false. */
export function flag(json: ConfigObject, field: string): boolean {
  const value = json[field] ?? false;
  if (typeof value === 'boolean') return value;
  throw invalidField(field, `is ${shown(value)}; it must be true or false`);
}

export function invalidField(field: string, problem: string): PairwiseError {
  return new PairwiseError('INVALID_MODEL', `config.json: ${field} ${problem}`, { field });
}

export function unsupportedField(field: string, problem: string): PairwiseError {
  return new PairwiseError('UNSUPPORTED_CONFIG', `config.json: ${field} ${problem}`, { field });
}
