import { existsSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const folder = resolve(import.meta.dirname, '..');
export const root = resolve(folder, '../..');
/** The workspace's manifest, while the package's has its place. */
export const kept = join(folder, 'package.workspace.json');

/** Leaves the folder as it was before packing. */
export function tidy(): void {
  if (existsSync(kept)) renameSync(kept, join(folder, 'package.json'));
  for (const made of ['dist', 'LICENSE']) rmSync(join(folder, made), { recursive: true, force: true });
}
