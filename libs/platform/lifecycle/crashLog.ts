import { inspect } from 'node:util';
import { PairwiseError } from '@pairwise/errors';

/**
 * Ends the process on an uncaught error and writes the cause to standard error: the message of a PairwiseError, which
 * names the remedy, or everything known about any other error. The exit code is 2 if the configuration must be changed,
 * else 1.
 */
export function logCrashes(service: string): void {
  process.on('uncaughtException', (error: unknown) => {
    const expected = error instanceof PairwiseError;
    process.stderr.write(`${service} cannot continue: ${expected ? error.message : inspect(error)}\n`);
    process.exit(expected && error.reason === 'INVALID_ARGUMENT' ? 2 : 1);
  });
}
