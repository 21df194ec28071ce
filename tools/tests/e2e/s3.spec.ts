import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { RunSpec, RunState, type Run } from '@pairwise/api';
import { startS3, type S3Server } from '@pairwise/store/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestPlatform, temporaryFolder } from './platform.ts';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';

// The same run with blobs in a folder and with blobs in a bucket.

const { folder, remove } = temporaryFolder();
let server: S3Server;

beforeAll(async () => {
  server = await startS3();
  writeTinyModel(join(folder, 'model'));
});

afterAll(async () => {
  await server.stop();
  remove();
});

/** Runs on a new platform. `inspect` is called before the platform stops. */
async function run(
  name: string,
  environment: Record<string, string>,
  inspect: () => void = () => undefined,
): Promise<Run> {
  const data = join(folder, name);
  mkdirSync(data);
  const platform = await startTestPlatform(data, environment, [folder]);
  try {
    const spec = RunSpec.fromPartial({
      model: { source: { $case: 'uri', value: `file://${folder}/model` } },
      datasetVersion: await platform.importDataset('pairs', Buffer.from(tinyPairs(48))),
      training: { learningRate: 1e-2, saveSteps: 2, tuning: { $case: 'lora', value: { r: 4 } } },
      exportTargets: [
        { format: { $case: 'adapter', value: {} } },
        { format: { $case: 'gguf', value: { type: 'F16' } } },
      ],
    });
    const ended = await platform.untilEnded((await platform.createRun('run', spec)).name);
    expect(ended.error).toBeUndefined();
    expect(ended.state).toBe(RunState.SUCCEEDED);
    inspect();
    return ended;
  } finally {
    await platform.stop();
  }
}

test('a bucket gives the same bytes as a folder, and workers map weights from one cached copy', async () => {
  const cache = join(folder, 'cache');
  const onFolder = await run('folder', {});
  const inBucket = { ...server.environment, PAIRWISE_BLOB_URL: 's3://blobs/e2e', PAIRWISE_CACHE: cache };
  let opened: { size: number; ino: number; nlink: number }[] = [];
  const onBucket = await run('bucket', inBucket, () => {
    opened = readdirSync(join(cache, 'processes')).flatMap((id) => {
      const open = join(cache, 'processes', id, 'open');
      return readdirSync(open).map((name) => statSync(join(open, name)));
    });
  });
  expect(onBucket.outputs!.adapterDigest).toBe(onFolder.outputs!.adapterDigest);
  // The adapter's artifact contains the name of the model, which differs between platforms.
  const gguf = ({ outputs }: Run) => outputs!.artifacts.find(({ format }) => format === 'gguf')!.digest;
  expect(gguf(onBucket)).toBe(gguf(onFolder));

  // Both workers still have the cached copy of the model open, each under its own name.
  const weights = statSync(join(folder, 'model/model.safetensors'));
  expect(opened.map(({ size }) => size)).toEqual([weights.size, weights.size]);
  expect(new Set(opened.map(({ ino }) => ino)).size).toBe(1);
  expect(opened[0]!.nlink).toBe(3);
  expect(readdirSync(join(cache, 'processes'))).toEqual([]);
  expect(existsSync(join(folder, 'bucket/data/blobs'))).toBe(false);
  expect(readdirSync(join(folder, 'folder/data'))).not.toContain('cache');
});
