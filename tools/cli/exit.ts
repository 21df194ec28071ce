import { CommanderError } from 'commander';
import { errorOf } from '@pairwise/rpc';
import { PairwiseError, type Reason } from '@pairwise/errors';
import type { Status } from '@pairwise/api';
import { styleText } from 'node:util';

/** Exit codes. `detached` is the shell's code for an interrupt: the user left before the outcome was known. */
export const exitCodes = { succeeded: 0, failed: 1, usage: 2, unreachable: 3, cancelled: 4, detached: 130 } as const;

/** Fails with a usage error, exit code 2. */
export function usage(message: string): never {
  throw new CommanderError(exitCodes.usage, 'pairwise.usage', message);
}

const byReason: Partial<Record<Reason, number>> = {
  UNAVAILABLE: exitCodes.unreachable,
  CANCELLED: exitCodes.cancelled,
};

/** The exit code for an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.succeeded : exitCodes.usage;
  if (error instanceof PairwiseError) return byReason[error.reason] ?? exitCodes.failed;
  return exitCodes.failed;
}

/** The error in the status of a failed resource. */
export function failureOf(status: Status | undefined): PairwiseError {
  return errorOf(status);
}

/** Explains why the platform cannot be reached, and what to do about it. */
function explainUnavailable({ message }: PairwiseError, address: string): string {
  if (/ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|Name resolution failed/.test(message)) {
    return `nothing is listening at ${address}; start the platform with 'pairwise up', or pass another --address`;
  }
  const certificate = /Last error: Error: ([^;]*certificate[^;.]*)/.exec(message)?.[1];
  if (certificate !== undefined) {
    return `the certificate of ${address} is not trusted (${certificate}); pass its certificate authority with --tls-ca`;
  }
  if (!message.startsWith('No connection established')) return message;
  return `${address} closes every connection; pass --tls or --tls-ca if it uses TLS, and neither if it does not`;
}

/** Prints an error to standard error: as text, or with `json` as one object. Unexpected errors come with their stack. */
export function printError(error: unknown, { json, address }: { json: boolean; address: string }): void {
  // Commander has printed its own errors already.
  if (error instanceof CommanderError && error.code !== 'pairwise.usage') return;
  const known = error instanceof PairwiseError ? error : undefined;
  const message = known?.reason === 'UNAVAILABLE' ? explainUnavailable(known, address) : (error as Error).message;
  if (json) {
    const { reason = error instanceof CommanderError ? 'INVALID_ARGUMENT' : 'INTERNAL', field, metadata } = known ?? {};
    process.stderr.write(`${JSON.stringify({ error: { reason, message, field, metadata } })}\n`);
    return;
  }
  const label = styleText('red', 'error:', { stream: process.stderr });
  const reason = known === undefined || known.reason === 'UNAVAILABLE' ? '' : ` (${known.reason})`;
  process.stderr.write(`${label} ${message}${reason}\n`);
  if (known === undefined && !(error instanceof CommanderError)) process.stderr.write(`${(error as Error).stack}\n`);
}
