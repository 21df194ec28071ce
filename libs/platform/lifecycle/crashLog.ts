import { inspect } from 'node:util';
import { PairwiseError } from '@pairwise/errors';

/**
 * Ends the process on an error that nobody catches, and writes the cause to standard error: the message of a PairwiseError,
 * which names the remedy; everything known about a defect. Exit code 2 for a configuration that has to be changed, else 1.
 */
export function logCrashes(service: string): void {
  process.on('uncaughtException', (error: unknown) => {
    const expected = error instanceof PairwiseError;
    process.stderr.write(`${service} cannot continue: ${expected ? error.message : inspect(error)}\n`);
    process.exit(expected && error.reason === 'INVALID_ARGUMENT' ? 2 : 1);
  });
}
