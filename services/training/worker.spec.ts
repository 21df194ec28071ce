import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable } from '@pairwise/durable';
import { expect, test } from 'vitest';
import { trainWork } from './work.ts';

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: console.error };

test('with PAIRWISE_EXIT_WHEN_IDLE a worker does what is queued and then stops gracefully', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-worker-'));
  const { url } = await testDatabase();
  const durable = await startDurable({ url, schema: 'training', log: silent });
  const ids = ['first', 'second'];
  // These trainings do not exist, so each work fails.
  for (const id of ids) await durable.enqueue(trainWork, id, { training: `projects/default/trainings/${id}` });
  const environment = { DATABASE_URL: url, PAIRWISE_DATA: folder, PAIRWISE_EXIT_WHEN_IDLE: 'true' };
  const worker = spawn(process.execPath, [join(import.meta.dirname, 'worker.ts')], {
    env: { ...process.env, ...environment },
    stdio: 'ignore',
  });
  expect(await once(worker, 'exit')).toEqual([0, null]);
  expect(await Promise.all(ids.map((id) => durable.state(id)))).toEqual(['FAILED', 'FAILED']);
  await durable.stop();
  rmSync(folder, { recursive: true });
});
