import { InvalidArgumentError, Option } from 'commander';

/** `--limit` of the list commands. */
export function limitOption(): Option {
  return new Option('-n, --limit <count>', 'show at most this many').default(50).argParser((text) => {
    const count = Number(text);
    if (Number.isInteger(count) && count > 0) return count;
    throw new InvalidArgumentError('It must be a whole number above 0.');
  });
}
