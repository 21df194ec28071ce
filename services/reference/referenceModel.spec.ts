import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '@pairwise/model';
import { openFolder } from '@pairwise/store';
import { writeTinyModel } from '@pairwise/testing';
import { forwardOperations, workSize } from '@pairwise/training';
import { expect, test, vi } from 'vitest';
import { openReferenceModel } from './referenceModel.ts';
import { somePairs } from './testing.pairs.ts';

test('a model reports the rate at which it computed, except for the first unit after it was opened', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-reference-model-'));
  const blobs = await openFolder(join(folder, 'blobs'));
  const modelFolder = join(folder, 'model');
  writeTinyModel(modelFolder);
  const files: object[] = [];
  for (const path of readdirSync(modelFolder)) {
    const { digest, sizeBytes } = await blobs.put(readFileSync(join(modelFolder, path)));
    files.push({ path, digest, sizeBytes: String(sizeBytes) });
  }
  const config = parseConfig(JSON.parse(readFileSync(join(modelFolder, 'config.json'), 'utf8')));
  const reference = openReferenceModel(blobs, { device: 'cpu', threads: 1 });
  let clockMs = 0;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (clockMs += 2000));
  const pairs = somePairs(0, 5);
  const first = await reference.logps(files, pairs, new AbortController().signal);
  const second = await reference.logps(files, pairs, new AbortController().signal);
  clock.mockRestore();
  expect(first.logps.map(({ response, tokenLogps }) => [response, tokenLogps.length])).toEqual(
    pairs.flatMap(({ chosen, rejected, chosenDigest, rejectedDigest }) => [
      [chosenDigest, chosen.length],
      [rejectedDigest, rejected.length],
    ]),
  );
  expect(first.rate).toBeUndefined();
  expect(second.logps).toEqual(first.logps);
  expect(second.rate).toBe(forwardOperations(config, workSize(pairs)) / 2);
  await reference.close();
  rmSync(folder, { recursive: true });
});
