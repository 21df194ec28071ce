import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable } from '@pairwise/durable';
import { expect, test } from 'vitest';
import { computeWork, coverWork } from '@pairwise/service-reference/work';
import { trainWork } from '@pairwise/service-training/work';
import { ofKind } from './objects.ts';
import { renderOverlay } from './render.ts';

// Runs KEDA's queries on a real Postgres, with the role from the operator's guide.

const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: console.error };
const guide = readFileSync(join(import.meta.dirname, '../../../docs/operating.md'), 'utf8');
const [, roleSql = ''] = /```sql\n([^`]*create role pairwise_queues[^`]*)```/.exec(guide) ?? [];

test('the queries count waiting and running work of the accelerator queues, and nothing else', async () => {
  const objects = renderOverlay('gpu-fleet');
  const triggers = [...ofKind(objects, 'ScaledObject'), ...ofKind(objects, 'ScaledJob')].map(
    ({ spec }) => spec!.triggers,
  );
  const [reference, training] = triggers.map(([trigger]) => trigger!.metadata['query']!);
  const { url } = await testDatabase();
  for (const schema of ['reference', 'training']) {
    const durable = await startDurable({ url, schema, log });
    const compute = { coverage: 'x', referenceFingerprint: 'sha256:x' as const, files: [], unit: {} as never };
    for (const id of ['one', 'two', 'three', 'four']) {
      if (schema === 'reference') await durable.enqueue(computeWork, id, compute);
      else await durable.enqueue(trainWork, id, { training: id });
    }
    if (schema === 'reference') await durable.enqueue(coverWork, 'cover', { coverage: 'x', attempt: 1 });
    await durable.stop();
  }
  const owner = openDatabase({ url, schema: 'public' });
  await owner.run(`drop role if exists pairwise_queues`);
  for (const statement of roleSql.split(';').filter((text) => text.trim() !== '')) await owner.run(statement);
  await owner.run(`update reference_durable.workflow_status set status = 'PENDING' where workflow_uuid = 'one'`);
  for (const state of ['SUCCESS', 'ERROR', 'CANCELLED'])
    await owner.run(
      `update training_durable.workflow_status set status = $1
       where workflow_uuid = (select min(workflow_uuid) from training_durable.workflow_status where status = 'ENQUEUED')`,
      [state],
    );
  await owner.close();

  const asRole = new URL(url);
  asRole.username = 'pairwise_queues';
  asRole.password = /password '([^']+)'/.exec(roleSql)![1]!;
  const role = openDatabase({ url: asRole.href, schema: 'public' });
  expect(await role.rows(reference!)).toEqual([{ count: 4n }]);
  expect(await role.rows(training!)).toEqual([{ count: 1n }]);
  await expect(role.rows('select * from reference_durable.executors')).rejects.toThrow(/permission denied/);
  await role.close();
});
