#!/usr/bin/env node
import { codeOf, report } from './exit.ts';
import type { GlobalOptions } from './context.ts';
import { pairwise } from './program.ts';

// Empty variables count as absent, as in every process of the platform.
for (const name of Object.keys(process.env)) {
  if (name.startsWith('PAIRWISE_') && process.env[name] === '') Reflect.deleteProperty(process.env, name);
}
const program = pairwise();
try {
  await program.parseAsync();
} catch (error) {
  const { json = false, address } = program.opts<GlobalOptions>();
  report(error, { json, address });
  process.exitCode = codeOf(error);
}
