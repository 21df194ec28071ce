#!/usr/bin/env node
import { exitCodeOf, printError } from './exit.ts';
import type { GlobalOptions } from './context.ts';
import { pairwise } from './program.ts';

// Users can do nothing about Node's deprecation warnings for our dependencies, such as TLS to an IP address.
process.noDeprecation = true;
// Empty variables count as absent, as in every process of the platform.
for (const name of Object.keys(process.env)) {
  if (name.startsWith('PAIRWISE_') && process.env[name] === '') Reflect.deleteProperty(process.env, name);
}
// The reader may close the pipe early, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
const program = pairwise();
try {
  await program.parseAsync();
} catch (error) {
  const { json = false, address } = program.opts<GlobalOptions>();
  printError(error, { json, address });
  process.exitCode = exitCodeOf(error);
}
