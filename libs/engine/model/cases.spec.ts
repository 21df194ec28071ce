import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { parseConfig, readBaseModel } from './index.ts';
import { folderAt, largestDifference, logps, openForward } from './testing.ts';

const shared = sharedFolder();

/** A text that stories260K begins well and then finds unlikely. */
const ids = [1, 403, 407, 261, 378, 31, 346, 280, 286, 264, 270, 335, 433, 100, 200, 300, 511];
// transformers 5.24 in float64, on the folders as they are.
const ofStories = [
  -0.24374348, -0.0175127, -0.01211039, -0.00072386, -27.96821222, -12.65728451, -5.31336439, -13.06140397,
  -13.94592734, -11.18124186, -19.49374813, -11.49939234, -22.98094554, -27.37094941, -6.93197876, -22.34927243,
];
const ofOtherHead = [
  -0.14256943, -0.00366008, -0.00238886, -0.00005535, -35.62902225, -15.42388501, -6.58597887, -16.59772254,
  -17.35987638, -14.34298455, -24.19393365, -13.88881571, -29.28566411, -34.45416854, -8.95570676, -28.69906013,
];

async function expectLogps(folder: string, wanted: number[]): Promise<void> {
  const { config, session } = await openForward(folder);
  const [first = 0, ...rest] = ids;
  const got = await logps(session, config, [{ prefix: Int32Array.of(first), branches: [Int32Array.from(rest)] }]);
  await session.close();
  expect(largestDifference(got, [wanted])).toBeLessThan(1e-4);
}

describe.skipIf(shared === undefined)('folders as they occur (skipped without ../shared)', () => {
  test('a good model.safetensors beside the index and weight files of an earlier save is read', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pairwise-case-'));
    cpSync(join(shared!, 'cases/stale-index/model'), folder, { recursive: true });
    cpSync(join(shared!, 'models/stories260K/model.safetensors'), join(folder, 'model.safetensors'));
    await expectLogps(folder, ofStories);
    rmSync(folder, { recursive: true });
  });

  test('a head that differs from the embedding is used, although the config ties them', async () => {
    const folder = join(shared!, 'cases/tied-but-other-lm-head/model');
    expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))).toMatchObject({ tie_word_embeddings: true });
    const { config } = await readBaseModel(await folderAt(folder));
    expect(config.tieWordEmbeddings).toBe(false);
    await expectLogps(folder, ofOtherHead);
  });

  test('config fields that cannot change the arithmetic do not stop a model', () => {
    const configOf = (path: string) =>
      parseConfig(JSON.parse(readFileSync(join(shared!, path, 'config.json'), 'utf8')));
    const others = readdirSync(join(shared!, 'cases/unknown-config-fields'));
    expect(others.length).toBeGreaterThan(0);
    const plain = configOf('models/stories260K');
    for (const path of [...others.map((name) => `unknown-config-fields/${name}`), 'config-of-to_dict/model']) {
      expect(configOf(`cases/${path}`), path).toEqual(plain);
    }
  });
});
