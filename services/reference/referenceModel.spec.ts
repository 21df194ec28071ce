import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileInfo } from '@pairwise/api';
import { parseConfig, quantizedLinears, readBaseModel, storedFolder, type BaseQuantization } from '@pairwise/model';
import { streamSafetensors } from '@pairwise/safetensors';
import { openFolder, type BlobStore } from '@pairwise/store';
import { writeTinyModel } from '@pairwise/testing';
import { forwardOperations, workSize } from '@pairwise/training';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openReferenceModel } from './referenceModel.ts';
import { somePairs } from './testing.pairs.ts';

let folder: string;
let blobs: BlobStore;
let files: Awaited<ReturnType<typeof stored>>[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pairwise-reference-model-'));
  blobs = await openFolder(join(folder, 'blobs'));
  writeTinyModel(join(folder, 'model'));
  const names = readdirSync(join(folder, 'model'));
  files = await Promise.all(names.map((name) => stored(name, readFileSync(join(folder, 'model', name)))));
});
afterAll(() => rmSync(folder, { recursive: true }));

const stored = async (path: string, content: Parameters<BlobStore['put']>[0]) => ({
  path,
  ...(await blobs.put(content)),
});
const json = (file: (typeof files)[number]) => FileInfo.toJSON({ ...file, sizeBytes: BigInt(file.sizeBytes) });

async function quantize(type: BaseQuantization): Promise<unknown> {
  const source = storedFolder(files, blobs);
  const layers = quantizedLinears(source, await readBaseModel(source), type);
  return json(await stored(type, streamSafetensors(layers)));
}

test('a model reports the rate at which it computed, except for the first unit after it was opened', async () => {
  const config = parseConfig(JSON.parse(readFileSync(join(folder, 'model/config.json'), 'utf8')));
  const reference = openReferenceModel(blobs, { device: 'cpu', threads: 1 });
  let clockMs = 0;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (clockMs += 2000));
  const pairs = somePairs(0, 5);
  const model = { files: files.map(json) };
  const first = await reference.logps(model, pairs, new AbortController().signal);
  const second = await reference.logps(model, pairs, new AbortController().signal);
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
});

test('one model in each quantisation is opened as what it is, one after the other', async () => {
  const reference = openReferenceModel(blobs, { device: 'cpu', threads: 1 });
  const pairs = somePairs(0, 6);
  const logps = async (quantized?: unknown) => {
    const model = { files: files.map(json), quantized };
    const { logps: entries } = await reference.logps(model, pairs, new AbortController().signal);
    return entries.flatMap(({ tokenLogps }) => [...tokenLogps]);
  };
  const [int8, nf4] = [await quantize('INT8'), await quantize('NF4')];
  const [plain, in8Bits, in4Bits] = [await logps(), await logps(int8), await logps(nf4)];
  const distance = (other: number[]) => Math.max(...other.map((value, i) => Math.abs(value - plain[i]!)));
  expect(distance(in8Bits)).toBeGreaterThan(0);
  expect(distance(in4Bits)).toBeGreaterThan(distance(in8Bits));
  expect(distance(in4Bits)).toBeLessThan(0.5);
  expect(await logps()).toEqual(plain);
  await reference.close();
});
