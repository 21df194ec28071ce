import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import { type Database, openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type Attempt, type Durable, startDurable, work } from './index.ts';
import { quiet } from './testing.plan.ts';

const task = work<{ name: string }, string>('task', 'tasks');
let durable: Durable;
let database: Database;
let body: (name: string, attempt: Attempt) => Promise<string>;
let count = 0;
let id: string;

beforeAll(async () => {
  const { url } = await testDatabase();
  database = openDatabase({ url, schema: 'public' });
  durable = await startDurable({ url, schema: 'public', log: quiet });
  durable.execute(task, ({ name }, attempt) => body(name, attempt));
  await durable.launch({ tasks: 4 });
});
beforeEach(() => (id = `task-${(count += 1)}`));
afterAll(async () => {
  await durable.stop();
  await database.close();
});

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error as PairwiseError,
  );

test('work is executed once per id, and its output is stored until it is forgotten', async () => {
  let runs = 0;
  body = async (name, { activity }) => {
    runs += 1;
    const one = await activity('one', () => Promise.resolve({ size: 3 }));
    return `${name} ${one.size}`;
  };
  expect(await durable.state(id)).toBeUndefined();
  for (let again = 0; again < 3; again += 1) await durable.enqueue(task, id, { name: 'a' });
  expect(await durable.result(task, id)).toBe('a 3');
  expect(await durable.state(id)).toBe('SUCCEEDED');
  await durable.enqueue(task, id, { name: 'b' });
  expect(await durable.result(task, id)).toBe('a 3');
  expect(runs).toBe(1);
  await durable.forget(id);
  await durable.enqueue(task, id, { name: 'b' });
  expect(await durable.result(task, id)).toBe('b 3');
});

test('a process is idle once everything in its queues is done, and not before', async () => {
  const { promise: held, resolve: release } = Promise.withResolvers<undefined>();
  body = async (name, { activity }) => {
    await activity('hold', () => held);
    return name;
  };
  // More than can run at once.
  const ids = Array.from({ length: 5 }, (_, index) => `${id}-${index}`);
  for (const one of ids) await durable.enqueue(task, one, { name: one });
  const order: string[] = [];
  const idle = durable.untilIdle(0).then(() => order.push('idle'));
  await vi.waitFor(async () => expect(await durable.state(ids[0]!)).toBe('RUNNING'), 20_000);
  // Long enough for the first check and the one after it.
  await sleep(1500);
  order.push('released');
  release(undefined);
  await idle;
  expect(order).toEqual(['released', 'idle']);
  expect(await Promise.all(ids.map((one) => durable.state(one)))).toEqual(ids.map(() => 'SUCCEEDED'));
});

test('the error of a step can be caught; an uncaught error becomes the result, with its reason', async () => {
  const error = new PairwiseError('NON_FINITE', 'the loss is NaN', { field: 'spec', metadata: { step: '7' } });
  const caught: unknown[] = [];
  body = async (_name, { activity }) => {
    try {
      return await activity<string>('one', () => Promise.reject(error));
    } catch (thrown) {
      caught.push(thrown);
      throw thrown;
    }
  };
  await durable.enqueue(task, id, { name: '' });
  const got = await failure(durable.result(task, id));
  expect(got).toBeInstanceOf(PairwiseError);
  expect(got).toMatchObject({
    reason: 'NON_FINITE',
    message: 'the loss is NaN',
    field: 'spec',
    metadata: { step: '7' },
  });
  expect(caught).toMatchObject([{ reason: 'NON_FINITE' }]);
  expect(await durable.state(id)).toBe('FAILED');
});

test('a bug becomes INTERNAL and reveals nothing', async () => {
  body = (_name, { activity }) => activity('one', () => Promise.reject(new TypeError('secret')));
  await durable.enqueue(task, id, { name: '' });
  const got = await failure(durable.result(task, id));
  expect(got).toMatchObject({ reason: 'INTERNAL' });
  expect(got?.message).not.toContain('secret');
});

test('a step that is UNAVAILABLE is retried', async () => {
  let tries = 0;
  body = (_name, { activity }) =>
    activity('one', () => {
      tries += 1;
      return tries < 3 ? Promise.reject(new PairwiseError('UNAVAILABLE', 'away')) : Promise.resolve('back');
    });
  await durable.enqueue(task, id, { name: '' });
  expect(await durable.result(task, id)).toBe('back');
});

test('cancelling aborts the current step and all later ones, except those that clean up', async () => {
  const ran: string[] = [];
  body = async (_name, { activity }) => {
    try {
      await activity('long', async (signal) => {
        ran.push('long');
        await sleep(60_000, undefined, { signal });
      });
    } catch (error) {
      await activity('next', () => Promise.resolve(ran.push('next'))).catch((next: unknown) => {
        ran.push((next as PairwiseError).reason);
      });
      await activity('tidy', () => Promise.resolve(ran.push('tidy')), { evenIfCancelled: true });
      throw error;
    }
    return '';
  };
  await durable.enqueue(task, id, { name: '' });
  while (ran.length === 0) await sleep(20);
  await durable.cancel(id);
  expect(await failure(durable.result(task, id))).toMatchObject({ reason: 'CANCELLED' });
  expect(ran).toEqual(['long', 'CANCELLED', 'tidy']);
});

test('work that is cancelled before it begins does nothing', async () => {
  body = (_name, { activity }) => activity('one', () => Promise.resolve('done'));
  await durable.cancel(id);
  await durable.enqueue(task, id, { name: '' });
  expect(await failure(durable.result(task, id))).toMatchObject({ reason: 'CANCELLED' });
});

test('work that begins during the check of a heartbeat keeps its owner', async () => {
  const { promise: held, resolve: release } = Promise.withResolvers<undefined>();
  const { promise: begun, resolve: begin } = Promise.withResolvers<undefined>();
  body = (name, { activity }) =>
    activity('hold', async (signal) => {
      begin(undefined);
      await held;
      signal.throwIfAborted();
      return name;
    });
  const [first, second] = [`${id}-first`, `${id}-second`];
  await durable.enqueue(task, first, { name: 'a' });
  await begun;
  await database.transaction(async (tx) => {
    await tx.rows('lock table public_durable.cancellations in access exclusive mode');
    const untilWaiting = (count: number) =>
      vi.waitFor(async () => {
        const sql = `select 1 from pg_locks where not granted and relation = 'public_durable.cancellations'::regclass`;
        expect(await tx.rows(sql)).toHaveLength(count);
      }, 20_000);
    // The heartbeat waits in the middle of its check, then also the second piece of work, which begins after it.
    await untilWaiting(1);
    await durable.enqueue(task, second, { name: 'b' });
    await untilWaiting(2);
  });
  release(undefined);
  expect(await Promise.all([first, second].map((one) => durable.result(task, one)))).toEqual(['a', 'b']);
});

test('work enqueued in a transaction exists only if the transaction is committed', async () => {
  body = (name, { activity }) => activity('one', () => Promise.resolve(name));
  await failure(
    database.transaction(async (tx) => {
      await durable.enqueue(task, id, { name: 'a' }, tx);
      throw new Error('no');
    }),
  );
  expect(await durable.state(id)).toBeUndefined();
  await database.transaction((tx) => durable.enqueue(task, id, { name: 'b' }, tx));
  expect(await durable.result(task, id)).toBe('b');
});

test('there is no limit on attempts while work makes progress', async () => {
  const tries: unknown[] = [];
  const sql = 'select recovery_attempts::integer as tries from public_durable.workflow_status where workflow_uuid = $1';
  body = async (_name, { activity }) => {
    for (const name of ['one', 'two']) await activity(name, async () => void tries.push(await database.row(sql, [id])));
    return '';
  };
  await database.transaction(async (tx) => {
    await durable.enqueue(task, id, { name: '' }, tx);
    await tx.run('update public_durable.workflow_status set recovery_attempts = 19 where workflow_uuid = $1', [id]);
  });
  await durable.result(task, id);
  expect(tries).toEqual([{ tries: 20 }, { tries: 1 }]);
});

test('an attempt that lost its work runs no further step, not even to clean up', async () => {
  const ran: string[] = [];
  const first = Promise.withResolvers<string>();
  let triesBefore = 1;
  body = async (_name, { activity }) => {
    try {
      await activity('one', () => Promise.resolve(ran.push('one')));
      return await activity('two', async (signal) => {
        ran.push('two');
        if (ran.length > 2) return 'done';
        // What the reaper does with the work of a process that it considers dead.
        const give = "status = 'ENQUEUED', owner_xid = null, recovery_attempts = $2";
        await database.run(`update public_durable.workflow_status set ${give} where workflow_uuid = $1`, [
          id,
          triesBefore,
        ]);
        await sleep(60_000, undefined, { signal });
        return '';
      });
    } catch (error) {
      await activity('tidy', () => Promise.resolve(ran.push('tidy')), { evenIfCancelled: true }).catch(
        (lost: unknown) => {
          first.resolve((lost as PairwiseError).reason);
          throw lost;
        },
      );
      throw error;
    }
  };
  await durable.enqueue(task, id, { name: '' });
  expect(await durable.result(task, id)).toBe('done');
  expect(await first.promise).toBe('STALE_ATTEMPT');
  expect(ran).toEqual(['one', 'two', 'two']);

  // The same, but after the death of 20 processes: the attempts before a finished step do not count.
  ran.length = 0;
  triesBefore = 20;
  await durable.forget(id);
  await durable.enqueue(task, id, { name: '' });
  expect((await failure(durable.result(task, id)))?.message).toMatch(/given up after 20 attempts/);
  expect(ran).toEqual(['one', 'two', 'tidy']);
});

test('work is repeated if Postgres refuses to store a step', async () => {
  await database.run(`
    create table refusing ();
    -- Counts refusals; a sequence keeps its count when the transaction is rolled back.
    create sequence refusals;
    create function refuse() returns trigger language plpgsql as $$ begin
      if exists (select 1 from refusing) then
        perform nextval('refusals');
        raise exception 'no' using errcode = 'XX001';
      end if;
      return new;
    end $$;
    create trigger refuse before insert on public_durable.operation_outputs for each row execute function refuse();
    insert into refusing default values;`);
  let runs = 0;
  body = (_name, { activity }) => activity('one', () => Promise.resolve(String((runs += 1))));
  await durable.enqueue(task, id, { name: '' });
  const refused = () => database.row<{ is_called: boolean }>('select is_called from refusals');
  while ((await refused())?.is_called !== true) await sleep(20);
  await database.run('delete from refusing');
  expect(Number(await durable.result(task, id))).toBeGreaterThan(1);
  await database.run('drop trigger refuse on public_durable.operation_outputs');
});

test('work whose process died too often fails, but cleans up', async () => {
  const ran: string[] = [];
  body = async (_name, { activity }) => {
    try {
      return await activity('one', () => Promise.resolve('done'));
    } finally {
      await activity('tidy', () => Promise.resolve(ran.push('tidy')), { evenIfCancelled: true });
    }
  };
  await database.transaction(async (tx) => {
    await durable.enqueue(task, id, { name: '' }, tx);
    await tx.run('update public_durable.workflow_status set recovery_attempts = 20 where workflow_uuid = $1', [id]);
  });
  const got = await failure(durable.result(task, id));
  expect(got).toMatchObject({ reason: 'INTERNAL' });
  expect(got?.message).toMatch(/given up after 20 attempts/);
  expect(ran).toEqual(['tidy']);
});

test('a full disk fails a step, but a step that cleans up waits until there is space', async () => {
  const full = new PairwiseError('DISK_FULL', 'the disk is full');
  let tries = 0;
  const tidy = () => ((tries += 1) < 3 ? Promise.reject(full) : Promise.resolve('tidy'));
  body = async (_name, { activity }) => {
    const reason = await failure(activity('one', () => Promise.reject(full)));
    return `${reason?.reason} ${await activity('tidy', tidy, { evenIfCancelled: true })}`;
  };
  await durable.enqueue(task, id, { name: 'a' });
  expect(await durable.result(task, id)).toBe('DISK_FULL tidy');
  expect(tries).toBe(3);
});

/** The number of transactions that Postgres commits within `ms` milliseconds, including this query. */
async function commitsIn(ms: number): Promise<number> {
  const sql = 'select xact_commit as count from pg_stat_database where datname = current_database()';
  const count = async () => Number((await database.row<{ count: bigint }>(sql))!.count);
  const before = await count();
  await sleep(ms);
  return (await count()) - before;
}

test('an idle process leaves Postgres alone, and begins new work at once, or soon if it missed the notification', async () => {
  body = (name, { activity }) => activity('one', () => Promise.resolve(name));
  // Polling five times a second would commit 30 or more.
  while ((await commitsIn(3000)) > 15);
  await durable.enqueue(task, id, { name: 'notified' });
  expect(await durable.result(task, id)).toBe('notified');

  while ((await commitsIn(3000)) > 15);
  await database.run('drop trigger tell_of_work on public_durable.workflow_status');
  await durable.enqueue(task, `${id}-2`, { name: 'found' });
  expect(await durable.result(task, `${id}-2`)).toBe('found');
});

/** Whether the process would count as alive if nothing happened for `ms` milliseconds. */
function isAliveIn(ms: number): boolean {
  const later = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + ms);
  try {
    return durable.isAlive();
  } finally {
    later.mockRestore();
  }
}

test('a process whose heartbeat is stuck is not alive until the next one', async () => {
  expect(isAliveIn(25_000)).toBe(true);
  await database.transaction(async (tx) => {
    await tx.rows('lock table public_durable.executors in access exclusive mode');
    while (isAliveIn(25_000)) await sleep(100);
    expect(durable.isAlive()).toBe(true);
  });
  while (!isAliveIn(25_000)) await sleep(100);
});
