import { PairwiseError } from '@pairwise/errors';

/** The API counts in int32. */
export const largestInt32 = 2 ** 31 - 1;

interface Range {
  above?: number;
  from?: number;
  below?: number;
  to?: number;
}

/** Checks of single fields. Each throws INVALID_ARGUMENT with the field's path, the problem and the allowed values. */
export interface FieldChecks {
  refuse(field: string, problem: string): never;
  /** A finite number within the range. */
  real(field: string, value: number, range: Range): number;
  /** A whole number from `from` to `to`, by default the largest int32. */
  count(field: string, value: number, from: number, to?: number): number;
  /** One of `names`. `others` are allowed as well, but only mentioned here. */
  oneOf<Name extends string>(field: string, value: string, names: readonly Name[], ...others: string[]): Name;
}

/** Checks for the fields below `path`, such as `spec.training`. */
export function fieldChecks(path: string): FieldChecks {
  const refuse = (field: string, problem: string): never => {
    const at = `${path}.${field}`;
    throw new PairwiseError('INVALID_ARGUMENT', `${at} ${problem}`, { field: at });
  };
  return {
    refuse,
    real(field, value, range) {
      return inside(value, range) ? value : refuse(field, `is ${value}; it must be ${bounds(range)}`);
    },
    count(field, value, from, to = largestInt32) {
      const counts = Number.isInteger(value) && value >= from && value <= to;
      return counts ? value : refuse(field, `is ${value}; it must be a whole number from ${from} to ${to}`);
    },
    oneOf(field, value, names, ...others) {
      const known = names.find((name) => name === value);
      return known ?? refuse(field, `is '${value}'; it must be one of ${[...others, ...names].join(', ')}`);
    },
  };
}

function inside(value: number, { above, from, below, to }: Range): boolean {
  return (
    Number.isFinite(value) &&
    (above === undefined || value > above) &&
    (from === undefined || value >= from) &&
    (below === undefined || value < below) &&
    (to === undefined || value <= to)
  );
}

function bounds({ above, from, below, to }: Range): string {
  return [
    above === undefined ? [] : `above ${above}`,
    from === undefined ? [] : `at least ${from}`,
    below === undefined ? [] : `below ${below}`,
    to === undefined ? [] : `at most ${to}`,
  ]
    .flat()
    .join(' and ');
}
