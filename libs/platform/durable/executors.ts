import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Bell, openBell } from './bell.ts';
import { listenForWork, lockExecutor, reap, recordHeartbeat, removeExecutor } from './dbosTables.ts';
import type { About } from './durable.ts';
import type { Log } from './log.ts';
import { countExpiries } from './measures.ts';

/**
 * How often a process shows that it is alive, and looks after the others and after its own work, as long as the service
 * has work. Without any there is nothing to lose, and it beats once a lease; it is told when work comes.
 */
const beatMs = 1000;
/** A process that has neither sent a heartbeat nor tried to connect for this long is stuck, perhaps on a dead connection. */
const stuckMs = 30_000;

export interface Executor {
  /** Whether it beats, or tries to connect again. */
  isAlive(): boolean;
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
  await listenForWork(client, schema);
  await lockExecutor(client, id);
  await recordHeartbeat(client, schema, membership);
}

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
    await recordHeartbeat(client, schema, membership);
    const { expired, requeued, busy } = await reap(client, schema, id, leaseMs);
    if (busy && !pulse.busy) membership.onWork();
    // Work that it was notified of since may have come after the query.
    pulse.busy = busy || pulse.notifications > notifications;
    if (expired > 0) countExpiries(service, expired);
    for (const workflow of requeued) {
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
    isAlive: () => Date.now() - pulse.moved < stuckMs,
    isBusy: () => pulse.busy,
    retire: async () => {
      stopping.abort();
      await beating;
      // While Postgres is away, others notice that the heartbeats are missing.
      await removeExecutor(client, schema, id).catch(() => undefined);
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
