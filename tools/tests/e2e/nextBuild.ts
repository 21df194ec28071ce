import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { startPlatform } from 'pairwise/up/platform';

const repository = join(import.meta.dirname, '../../..');

/** Changes a file by a replacement that must find its place. */
function change(path: string, before: string | RegExp, after: string): void {
  const text = readFileSync(path, 'utf8');
  const changed = text.replace(before, after);
  if (changed === text) throw new Error(`${path}: there is no ${String(before)} to change`);
  writeFileSync(path, changed);
}

/**
 * Writes the build after this one into a folder: a copy of the platform's sources in which services have one more
 * migration (`added`: SQL by service) and the orchestrator tells another version. Returns its way to start the platform.
 */
export async function writeNextBuild(
  folder: string,
  { version, added }: { version: string; added: Record<string, string> },
): Promise<typeof startPlatform> {
  const build = join(folder, 'build');
  for (const part of ['libs', 'services', 'tools/cli', 'tsconfig.base.json', 'node_modules/@pairwise']) {
    // The links from @pairwise/* to the libraries and services stay as they are, and so lead into the copy.
    cpSync(join(repository, part), join(build, part), { recursive: true, verbatimSymlinks: true });
  }
  // Everything else is found one folder further up.
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'));
  change(join(build, 'services/orchestrator/package.json'), /"version": "[^"]+"/, `"version": "${version}"`);
  for (const [service, sql] of Object.entries(added)) {
    const migration = JSON.stringify({ id: '9999-next', sql });
    change(join(build, 'services', service, 'migrations.ts'), /,?\s*\];\s*$/, `, ${migration}];\n`);
  }
  const program = pathToFileURL(join(build, 'tools/cli/up/platform.ts')).href;
  return ((await import(program)) as { startPlatform: typeof startPlatform }).startPlatform;
}
