import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { startPlatform } from 'pairwise/up/platform';

const repository = join(import.meta.dirname, '../../..');

/** Replaces a text in a file. Throws if it is not found. */
function change(path: string, before: string | RegExp, after: string): void {
  const text = readFileSync(path, 'utf8');
  const changed = text.replace(before, after);
  if (changed === text) throw new Error(`${path} does not contain ${String(before)}`);
  writeFileSync(path, changed);
}

/**
 * Writes the next build into a folder: a copy of the platform's sources in which the orchestrator reports another version and
 * services have one more migration (`added`: SQL by service). Returns its `startPlatform`.
 */
export async function writeNextBuild(
  folder: string,
  { version, added }: { version: string; added: Record<string, string> },
): Promise<typeof startPlatform> {
  const build = join(folder, 'build');
  for (const part of ['libs', 'services', 'tools/cli', 'tsconfig.base.json', 'node_modules/@pairwise']) {
    // The links from @pairwise/* are relative, so in the copy they lead to its own libraries and services.
    cpSync(join(repository, part), join(build, part), { recursive: true, verbatimSymlinks: true });
  }
  // All other packages are found one folder further up.
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'));
  change(join(build, 'services/orchestrator/package.json'), /"version": "[^"]+"/, `"version": "${version}"`);
  for (const [service, sql] of Object.entries(added)) {
    const migration = JSON.stringify({ id: '9999-next', sql });
    change(join(build, 'services', service, 'migrations.ts'), /,?\s*\];\s*$/, `, ${migration}];\n`);
  }
  const program = pathToFileURL(join(build, 'tools/cli/up/platform.ts')).href;
  return ((await import(program)) as { startPlatform: typeof startPlatform }).startPlatform;
}
