import type { Queries } from './database.ts';

/** The SQL of the table for `openRates`, for a migration of each schema that uses it. */
export const rateTable = `
  create table rates (
    numerics_profile text primary key,
    -- Multiply-adds per second, smoothed over the last few measurements.
    rate double precision not null
  );`;

/** How fast accelerators have been measured to compute, in multiply-adds per second, for each numerics profile. */
export interface Rates {
  /** The rate of a numerics profile, or undefined if nothing was measured on it. */
  of(numericsProfile: string): Promise<number | undefined>;
  /** Takes a measurement into account: the new rate is 0.7 of the old one and 0.3 of the measured one. */
  add(tx: Queries, numericsProfile: string, measured: number): Promise<void>;
}

/** Opens the rates in a schema with `rateTable`. */
export function openRates(database: Queries): Rates {
  return {
    of: async (numericsProfile) => {
      const sql = 'select rate from rates where numerics_profile = $1';
      return (await database.row<{ rate: number }>(sql, [numericsProfile]))?.rate;
    },
    add: async (tx, numericsProfile, measured) => {
      await tx.run(
        `insert into rates (numerics_profile, rate) values ($1, $2)
         on conflict (numerics_profile) do update set rate = 0.7 * rates.rate + 0.3 * excluded.rate`,
        [numericsProfile, measured],
      );
    },
  };
}
