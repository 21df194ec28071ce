import { existsSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const folder = resolve(import.meta.dirname, '..');
export const root = resolve(folder, '../..');
/** Where the workspace's manifest is kept while the package's takes its place. */
export const savedManifest = join(folder, 'package.workspace.json');

/** Restores the folder to its state before packing. */
export function restore(): void {
  if (existsSync(savedManifest)) renameSync(savedManifest, join(folder, 'package.json'));
  for (const name of ['dist', 'LICENSE']) rmSync(join(folder, name), { recursive: true, force: true });
}
