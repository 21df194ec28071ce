import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/**
 * The folder of reference material (real checkpoints, preference data, golden numbers) next to the repository, on
 * machines that have it; `PAIRWISE_SHARED` overrides its path. Undefined if it is missing, which is an error if
 * `CI=true`: a check that CI skips silently proves nothing.
 */
export function sharedFolder(): string | undefined {
  const folder = process.env['PAIRWISE_SHARED'] ?? resolve(root, '../shared');
  if (existsSync(resolve(folder, 'goldens'))) return folder;
  if (process.env['CI'] === 'true') throw new Error(`CI needs the reference material, but ${folder} is missing`);
  console.warn('SKIPPED: tests against golden numbers, because the reference material is not on this machine');
  return undefined;
}
