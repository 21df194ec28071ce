import { CommanderError } from 'commander';
import { errorOf } from '@pairwise/rpc';
import { PairwiseError, type Reason } from '@pairwise/errors';
import type { Status } from '@pairwise/api';
import { styleText } from 'node:util';

/** How the command ends; `detached` is the shell's number for an interrupt, since the outcome is not known yet. */
export const exitCodes = { succeeded: 0, failed: 1, usage: 2, unreachable: 3, cancelled: 4, detached: 130 } as const;

/** Refuses how the command was called; ends it with code 2. */
export function usage(message: string): never {
  throw new CommanderError(exitCodes.usage, 'pairwise.usage', message);
}

const byReason: Partial<Record<Reason, number>> = {
  UNAVAILABLE: exitCodes.unreachable,
  CANCELLED: exitCodes.cancelled,
};

/** The exit code for an error. */
export function codeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.succeeded : exitCodes.usage;
  if (error instanceof PairwiseError) return byReason[error.reason] ?? exitCodes.failed;
  return exitCodes.failed;
}

/** Why a resource failed, as the error it stands for. */
export function failureOf(status: Status | undefined): PairwiseError {
  return errorOf(status);
}

/** What keeps the platform out of reach, in the words of someone who can do something about it. */
function unreachable({ message }: PairwiseError, address: string): string {
  if (/ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|Name resolution failed/.test(message)) {
    return `nothing answers at ${address}; start the platform with 'pairwise up', or name another with --address`;
  }
  const certificate = /Last error: Error: ([^;]*certificate[^;.]*)/.exec(message)?.[1];
  if (certificate !== undefined) {
    return `the certificate of ${address} is not trusted (${certificate}); name its authority with --tls-ca`;
  }
  if (!message.startsWith('No connection established')) return message;
  return `${address} ends every connection; if it speaks TLS, call with --tls or --tls-ca, and else without`;
}

/** Tells of an error on standard error, for people or, with `json`, as one object. Defects come with their stack. */
export function report(error: unknown, { json, address }: { json: boolean; address: string }): void {
  // Commander has said its own already.
  if (error instanceof CommanderError && error.code !== 'pairwise.usage') return;
  const known = error instanceof PairwiseError ? error : undefined;
  const message = known?.reason === 'UNAVAILABLE' ? unreachable(known, address) : (error as Error).message;
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
