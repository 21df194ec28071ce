import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { sharedFolder } from './referenceMaterial.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pairwise-shared-'));
  vi.stubEnv('PAIRWISE_SHARED', folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

test('the folder is used if it contains goldens', () => {
  mkdirSync(join(folder, 'goldens'));
  expect(sharedFolder()).toBe(folder);
});

test('without the folder, tests are skipped with a warning, but CI fails', () => {
  vi.stubEnv('CI', 'false');
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  expect(sharedFolder()).toBeUndefined();
  expect(warn).toHaveBeenCalledWith(expect.stringContaining('SKIPPED'));
  vi.stubEnv('CI', 'true');
  expect(() => sharedFolder()).toThrow(`CI needs the reference material, but ${folder} is missing`);
});
