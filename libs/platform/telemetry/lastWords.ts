import { inspect } from 'node:util';
import { PairwiseError } from '@pairwise/errors';

/**
 * Says on standard error why a process ends that cannot go on: of a PairwiseError the message alone, which has the remedy;
 * of a defect all that is known. Exit codes: 2 for a configuration that has to be changed, else 1.
 */
export function sayLastWords(service: string): void {
  process.on('uncaughtException', (error: unknown) => {
    const expected = error instanceof PairwiseError;
    process.stderr.write(`${service} cannot go on: ${expected ? error.message : inspect(error)}\n`);
    process.exit(expected && error.reason === 'INVALID_ARGUMENT' ? 2 : 1);
  });
}
