import type pg from 'pg';

// All SQL on the tables of durable execution: DBOS's `workflow_status` and `queues`, and our own `executors` and
// `cancellations` next to them. When upgrading DBOS, check the columns that are used here, and no others.

/** Where a query runs: a pool, a connection or a transaction. */
type Connection = Pick<pg.ClientBase, 'query'>;

/** Our own tables, and the trigger that notifies of queued work. Only one process at a time may run this. */
export const tables = (schema: string) => `
  create table if not exists "${schema}".executors (id text primary key, beat_time timestamptz not null);
  alter table "${schema}".executors add column if not exists queues text[] not null default '{}';
  alter table "${schema}".executors add column if not exists about jsonb not null default '{}';
  create table if not exists "${schema}".cancellations (workflow_uuid text primary key);
  do $$ begin
    if not exists (
      select 1 from pg_trigger where tgrelid = '"${schema}".workflow_status'::regclass and tgname = 'tell_of_work'
    ) then
      create function "${schema}".tell_of_work() returns trigger language plpgsql as
        'begin perform pg_notify(tg_table_schema, null); return null; end';
      create trigger tell_of_work after insert or update of status on "${schema}".workflow_status
        for each row when (new.status = 'ENQUEUED') execute function "${schema}".tell_of_work();
    end if;
  end $$;`;

/** Receives the trigger's notifications on this connection. */
export const listenForWork = (connection: Connection, schema: string) => connection.query(`listen "${schema}"`);

const lockOf = (id: string) => `hashtextextended('pairwise executor ' || ${id}, 0)`;

/**
 * Locks the executor's id until the connection ends. Does nothing if an earlier session of ours, which was cut off,
 * still holds the lock.
 */
export const lockExecutor = (connection: Connection, id: string) =>
  connection.query(`select pg_try_advisory_lock(${lockOf('$1::text')})`, [id]);

/** Registers a process that executes work, or records its next heartbeat. */
export const recordHeartbeat = (
  connection: Connection,
  schema: string,
  { id, queues, about }: { id: string; queues: readonly string[]; about: Readonly<Record<string, string>> },
) =>
  connection.query(
    `insert into "${schema}".executors (id, beat_time, queues, about) values ($1, now(), $2, $3)
     on conflict (id) do update set beat_time = now()`,
    [id, queues, about],
  );

/** A process that holds its lock but sends no heartbeat for this many leases is frozen or cut off. */
export const frozenLeases = 6;

/** Puts running work back into its queue, as of now. */
const requeued = `status = 'ENQUEUED', owner_xid = null, started_at_epoch_ms = null,
        updated_at = (extract(epoch from now()) * 1000)::bigint`;

export interface Reaped {
  /** The number of processes that turned out to be dead. */
  expired: number;
  /** Ids of the work that was put back into its queue. */
  requeued: string[];
  /** Whether any work is waiting or being executed, by any process. */
  busy: boolean;
}

/**
 * Removes dead processes other than `id`, and puts their work back into its queue. A process is dead if it has sent no
 * heartbeat for a lease, measured by Postgres's clock while Postgres was up, and if its session is gone, and so its
 * lock. (A process whose event loop is busy keeps its session.) Work of unknown processes is put back too.
 */
export async function reap(connection: Connection, schema: string, id: string, leaseMs: number): Promise<Reaped> {
  const sql = `
    with dead as (
      delete from "${schema}".executors
      where id <> $1
        and beat_time < now() - $2 * interval '1 ms'
        and pg_postmaster_start_time() < now() - $2 * interval '1 ms'
        and (beat_time < now() - $2 * ${frozenLeases} * interval '1 ms' or pg_try_advisory_xact_lock(${lockOf('id')}))
      returning id
    ), requeued as (
      update "${schema}".workflow_status
      set ${requeued}
      where status = 'PENDING'
        and (executor_id in (select id from dead)
          or updated_at < (extract(epoch from now()) * 1000)::bigint - $2
            and pg_postmaster_start_time() < now() - $2 * interval '1 ms'
            and not exists (select 1 from "${schema}".executors where id = executor_id))
      returning workflow_uuid
    )
    select (select count(*)::int from dead) as expired, array(select workflow_uuid from requeued) as requeued,
           exists (select 1 from "${schema}".workflow_status where status in ('ENQUEUED', 'PENDING')) as busy`;
  return (await connection.query<Reaped>(sql, [id, leaseMs])).rows[0]!;
}

/**
 * Removes a process that is stopping and puts its work back into its queue. These attempts are not counted, since they
 * did not fail.
 */
export const removeExecutor = (connection: Connection, schema: string, id: string) =>
  connection.query(
    `with removed as (delete from "${schema}".executors where id = $1)
     update "${schema}".workflow_status
     set ${requeued}, recovery_attempts = greatest(recovery_attempts - 1, 0)
     where status = 'PENDING' and executor_id = $1`,
    [id],
  );

/** Puts work back into its queue, unless another process has it already. */
export const requeue = (connection: Connection, schema: string, id: string, owner: string) =>
  connection.query(`update "${schema}".workflow_status set ${requeued} where workflow_uuid = $1 and owner_xid = $2`, [
    id,
    owner,
  ]);

/**
 * Puts work at the end of its queue, so that a process that cannot do it gets to the work behind it. The attempt is not
 * counted, since it did not fail.
 */
export const decline = (connection: Connection, schema: string, id: string, owner: string) =>
  connection.query(
    `update "${schema}".workflow_status
     set ${requeued}, created_at = (extract(epoch from now()) * 1000)::bigint,
         recovery_attempts = greatest(recovery_attempts - 1, 0)
     where workflow_uuid = $1 and owner_xid = $2`,
    [id, owner],
  );

export interface Claim {
  id: string;
  /** Token of the attempt that owns the work; null while it waits in a queue. */
  owner: string | null;
  cancelled: boolean;
}

/** Who owns each piece of work, and whether it was cancelled. */
export async function claimsOf(connection: Connection, schema: string, ids: readonly string[]): Promise<Claim[]> {
  const sql = `
    select workflow_uuid as id, owner_xid as owner,
           exists (select 1 from "${schema}".cancellations c where c.workflow_uuid = w.workflow_uuid) as cancelled
    from "${schema}".workflow_status w where workflow_uuid = any($1)`;
  return (await connection.query<Claim>(sql, [ids])).rows;
}

/** Whether an attempt owns its work. If it does, the work cannot change hands until the transaction ends. */
export async function lockClaim(tx: Connection, schema: string, id: string, owner: string): Promise<boolean> {
  const sql = `
    select 1 from "${schema}".workflow_status
    where workflow_uuid = $1 and owner_xid = $2 and status = 'PENDING' for share`;
  return (await tx.query(sql, [id, owner])).rows.length > 0;
}

/** Makes the running attempt of `owner` count as the first one. */
export const resetAttempts = (connection: Connection, schema: string, id: string, owner: string) =>
  connection.query(
    `update "${schema}".workflow_status set recovery_attempts = 1 where workflow_uuid = $1 and owner_xid = $2`,
    [id, owner],
  );

/** Whether a process executes anything, or anything waits in its queues. */
export async function hasWork(
  connection: Connection,
  schema: string,
  executor: string,
  queues: readonly string[],
): Promise<boolean> {
  const sql = `
    select 1 from "${schema}".workflow_status
    where queue_name = any($1) and (status = 'ENQUEUED' or status = 'PENDING' and executor_id = $2) limit 1`;
  return (await connection.query(sql, [queues, executor])).rows.length > 0;
}

/** Asks for work to be cancelled. */
export const addCancellation = (connection: Connection, schema: string, id: string) =>
  connection.query(`insert into "${schema}".cancellations (workflow_uuid) values ($1) on conflict do nothing`, [id]);

/** Deletes the request to cancel work, if there is one. */
export const removeCancellation = (connection: Connection, schema: string, id: string) =>
  connection.query(`delete from "${schema}".cancellations where workflow_uuid = $1`, [id]);

export interface QueueDepth {
  queue: string;
  /** Pieces of work that are waiting. */
  waiting: number;
  running: number;
  /** How long the oldest waiting piece has waited, in seconds by Postgres's clock; 0 if none is waiting. */
  age: number;
}

/** Every queue that a process has registered or that holds work, including empty ones. */
export async function queueDepths(connection: Connection, schema: string): Promise<QueueDepth[]> {
  const sql = `
    with live as (
      select queue_name as queue, status <> 'PENDING' as waits, updated_at
      from "${schema}".workflow_status
      where status in ('ENQUEUED', 'DELAYED', 'PENDING') and queue_name is not null
    )
    select queue,
           count(*) filter (where waits)::int as waiting,
           count(*) filter (where not waits)::int as running,
           coalesce(extract(epoch from now()) - min(updated_at) filter (where waits) / 1000.0, 0)::float8 as age
    from (select name as queue from "${schema}".queues union select queue from live) as known
      left join live using (queue)
    where queue not like '\\_dbos%'
    group by queue`;
  return (await connection.query<QueueDepth>(sql)).rows;
}

export interface QueueWorker {
  queue: string;
  id: string;
  about: Readonly<Record<string, string>>;
}

/**
 * The processes that have sent a heartbeat within `silenceMs` milliseconds, once for each queue that they pull from.
 */
export async function workersOf(connection: Connection, schema: string, silenceMs: number): Promise<QueueWorker[]> {
  const sql = `
    select unnest(queues) as queue, id, about from "${schema}".executors
    where beat_time > now() - $1 * interval '1 ms' order by id`;
  return (await connection.query<QueueWorker>(sql, [silenceMs])).rows;
}
