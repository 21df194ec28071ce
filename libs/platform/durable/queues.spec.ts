import { openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { expect, test } from 'vitest';
import { startDurable } from './index.ts';
import { plan, quiet } from './testing.plan.ts';

test('queues report what is waiting and which live processes pull from them', async () => {
  const { url } = await testDatabase();
  const durable = await startDurable({ url, schema: 'test', log: quiet });
  const database = openDatabase({ url, schema: 'test_durable' });
  expect(await durable.queues()).toEqual([]);
  await durable.enqueue(plan, 'a', { steps: 0, ms: 0 });
  expect(await durable.queues()).toEqual([{ name: plan.queue, waiting: 1, running: 0, workers: [] }]);

  // No process is launched yet that could declare the silent one dead and remove it.
  await database.run(
    `insert into executors (id, beat_time, queues, about) values
       ('silent', now() - interval '31 s', '{other,${plan.queue}}', '{}'),
       ('alive', now() - interval '20 s', '{other,${plan.queue}}', '{"device": "cuda:0"}')`,
  );
  const workers = [{ id: 'alive', about: { device: 'cuda:0' } }];
  expect(await durable.queues()).toEqual([{ name: plan.queue, waiting: 1, running: 0, workers }]);
  await database.run('delete from executors');

  durable.execute(plan, ({ steps }) => Promise.resolve(steps));
  await durable.launch({ [plan.queue]: 1 }, { device: 'cpu' });
  await durable.result(plan, 'a');
  const [queue] = await durable.queues();
  expect(queue).toMatchObject({ name: plan.queue, waiting: 0, running: 0, workers: [{ about: { device: 'cpu' } }] });

  await durable.stop();
  await database.close();
});
