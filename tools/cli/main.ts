#!/usr/bin/env node
import { codeOf, report } from './exit.ts';
import type { GlobalOptions } from './context.ts';
import { pairwise } from './program.ts';

// What Node thinks of the packages in here, such as of TLS to an IP address, is nothing that a user could do about.
process.noDeprecation = true;
// Empty variables count as absent, as in every process of the platform.
for (const name of Object.keys(process.env)) {
  if (name.startsWith('PAIRWISE_') && process.env[name] === '') Reflect.deleteProperty(process.env, name);
}
// Whoever reads the output may have seen enough, such as `head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
const program = pairwise();
try {
  await program.parseAsync();
} catch (error) {
  const { json = false, address } = program.opts<GlobalOptions>();
  report(error, { json, address });
  process.exitCode = codeOf(error);
}
