import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Bell, openBell } from './bell.ts';
import type { About } from './durable.ts';
import type { Log } from './log.ts';
import { countExpiries } from './measures.ts';

/** Tables beside DBOS's own: who is alive, and what is to be cancelled. One process at a time may run this. */
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

/**
 * How often a process shows that it is alive, and looks after the others and after its own work, as long as the service
 * has work. Without any there is nothing to lose, and it beats once a lease; it is told when work comes.
 */
const beatMs = 1000;
/** A process that holds its lock but sends no heartbeat for this many leases is frozen or cut off. */
export const frozenLeases = 6;
/** A process that has neither sent a heartbeat nor tried to connect for this long is stuck, perhaps on a dead connection. */
const stuckMs = 30_000;

const lockOf = (id: string) => `hashtextextended('pairwise executor ' || ${id}, 0)`;

/**
 * Gives the work of dead processes back to its queue. A process is dead if it has not beaten for a lease, in Postgres's
 * time and while Postgres was up, and if its session, and with it its lock, is gone. (A process whose event loop is
 * busy keeps its session.) Work of unknown processes goes back too.
 */
const reap = (schema: string) => `
  with dead as (
    delete from "${schema}".executors
    where id <> $1
      and beat_time < now() - $2 * interval '1 ms'
      and pg_postmaster_start_time() < now() - $2 * interval '1 ms'
      and (beat_time < now() - $2 * ${frozenLeases} * interval '1 ms' or pg_try_advisory_xact_lock(${lockOf('id')}))
    returning id
  ), given as (
    update "${schema}".workflow_status
    set status = 'ENQUEUED', owner_xid = null, started_at_epoch_ms = null,
        updated_at = (extract(epoch from now()) * 1000)::bigint
    where status = 'PENDING'
      and (executor_id in (select id from dead)
        or updated_at < (extract(epoch from now()) * 1000)::bigint - $2
          and pg_postmaster_start_time() < now() - $2 * interval '1 ms'
          and not exists (select 1 from "${schema}".executors where id = executor_id))
    returning workflow_uuid
  )
  select (select count(*)::int from dead) as expired, array(select workflow_uuid from given) as given,
         exists (select 1 from "${schema}".workflow_status where status in ('ENQUEUED', 'PENDING')) as busy`;

export interface Executor {
  /** Whether it beats, or tries to connect again. */
  lives(): boolean;
  /** Whether the service has work, waiting or being executed anywhere, as far as this process knows. */
  isBusy(): boolean;
  /** Gives this process's work back, for others to take at once, and ends the beats. */
  retire(): Promise<void>;
}

export interface Membership {
  url: string;
  /** Whose work it is. */
  service: string;
  schema: string;
  id: string;
  leaseMs: number;
  /** The queues that it takes work from. */
  queues: readonly string[];
  about: About;
  /** Called on every beat, with a connection. */
  onBeat(client: pg.Client): Promise<void>;
  /** Called when there is work that may not have been there before. */
  onWork(): void;
  log: Log;
}

async function enter(client: pg.Client, membership: Membership, pulse: Pulse): Promise<void> {
  const { id, schema } = membership;
  await client.connect();
  // Before the first look, so that nothing escapes both.
  client.on('notification', () => pulse.work());
  await client.query(`listen "${schema}"`);
  // False where a session of ours that was cut off still holds it, which is as good.
  await client.query(`select pg_try_advisory_lock(${lockOf('$1::text')})`, [id]);
  await beat(client, membership);
}

const beat = (client: pg.Client, { schema, id, queues, about }: Membership) =>
  client.query(
    `insert into "${schema}".executors (id, beat_time, queues, about) values ($1, now(), $2, $3)
     on conflict (id) do update set beat_time = now()`,
    [id, queues, about],
  );

/** What a process knows of its own beats. */
interface Pulse {
  /** When it beat or tried to, last; Infinity while it rests between two beats. */
  moved: number;
  busy: boolean;
  /** How often it was notified of work. */
  notifications: number;
  bell: Bell;
  /** Tells it of work. */
  work(): void;
}

/** Beats, reaps and looks after own work until the connection is lost or the signal aborts. */
async function beatOn(client: pg.Client, membership: Membership, pulse: Pulse, signal: AbortSignal): Promise<void> {
  const { service, schema, id, leaseMs, log } = membership;
  while (!signal.aborted) {
    pulse.moved = Date.now();
    const { notifications } = pulse;
    await beat(client, membership);
    const looked = await client.query<{ expired: number; given: string[]; busy: boolean }>(reap(schema), [id, leaseMs]);
    const { expired, given, busy } = looked.rows[0]!;
    if (busy && !pulse.busy) membership.onWork();
    // Work that it was notified of since may have come after the query.
    pulse.busy = busy || pulse.notifications > notifications;
    if (expired > 0) countExpiries(service, expired);
    for (const workflow of given) {
      log.info({ workflow }, `${workflow} goes back to its queue: the process that had it is gone`);
    }
    await membership.onBeat(client);
    pulse.moved = Infinity;
    if (pulse.busy) await sleep(beatMs, undefined, { signal }).catch(() => undefined);
    else await pulse.bell.wait(leaseMs, signal);
  }
}

function connection({ url }: Membership): pg.Client {
  const client = new pg.Client({ connectionString: url, keepAlive: true, connectionTimeoutMillis: 5000 });
  // A lost connection also fails the query at hand, or the next one.
  client.on('error', () => undefined);
  return client;
}

/** Makes this process known as alive, for as long as it is; comes back by itself after Postgres was away. */
export async function join(membership: Membership): Promise<Executor> {
  const { schema, id, log } = membership;
  const stopping = new AbortController();
  const pulse: Pulse = {
    moved: Date.now(),
    busy: true,
    notifications: 0,
    bell: openBell(),
    work: () => {
      pulse.notifications += 1;
      if (!pulse.busy) pulse.bell.ring();
      pulse.busy = true;
      membership.onWork();
    },
  };
  let client = connection(membership);
  await enter(client, membership, pulse);
  const beating = (async () => {
    while (!stopping.signal.aborted) {
      try {
        await beatOn(client, membership, pulse, stopping.signal);
      } catch (error) {
        log.warn({ err: error }, 'the connection to Postgres was lost; connecting again');
        await client.end().catch(() => undefined);
        client = await reconnect(membership, pulse, stopping.signal);
      }
    }
  })();
  return {
    lives: () => Date.now() - pulse.moved < stuckMs,
    isBusy: () => pulse.busy,
    retire: async () => {
      stopping.abort();
      await beating;
      const give = `
        update "${schema}".workflow_status
        set status = 'ENQUEUED', owner_xid = null, started_at_epoch_ms = null,
            -- A process that stops gracefully has not failed at it.
            recovery_attempts = greatest(recovery_attempts - 1, 0),
            updated_at = (extract(epoch from now()) * 1000)::bigint
        where status = 'PENDING' and executor_id = $1`;
      // Where Postgres is away, others notice by the missing beats.
      await client.query(give, [id]).catch(() => undefined);
      await client.query(`delete from "${schema}".executors where id = $1`, [id]).catch(() => undefined);
      await client.end().catch(() => undefined);
    },
  };
}

async function reconnect(membership: Membership, pulse: Pulse, signal: AbortSignal): Promise<pg.Client> {
  for (;;) {
    pulse.moved = Date.now();
    const client = connection(membership);
    try {
      await enter(client, membership, pulse);
      return client;
    } catch {
      if (signal.aborted) return client;
      await client.end().catch(() => undefined);
      await sleep(300, undefined, { signal }).catch(() => undefined);
    }
  }
}
