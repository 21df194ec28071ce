import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Bell, openBell } from './bell.ts';
import { listenForWork, lockExecutor, reap, recordHeartbeat, removeExecutor } from './dbosTables.ts';
import type { About } from './durable.ts';
import type { DurableLog } from './log.ts';
import { countExpiries } from './measures.ts';

/**
 * The interval between heartbeats while the service has work. With each one, a process also checks on the others and on
 * its own work. Without work there is nothing to lose: it sends one per lease, and is notified of new work.
 */
const beatMs = 1000;
/**
 * A process that has neither sent a heartbeat nor tried to connect for this long is stuck, perhaps on a dead
 * connection.
 */
const stuckMs = 30_000;

export interface Executor {
  /** Whether it sends heartbeats, or tries to reconnect. */
  isAlive(): boolean;
  /** Whether, as far as this process knows, the service has work that is waiting or being executed anywhere. */
  isBusy(): boolean;
  /** Stops the heartbeats and puts this process's work back into its queue, where others can take it at once. */
  retire(): Promise<void>;
}

export interface Membership {
  url: string;
  /** The service that the work belongs to. */
  service: string;
  schema: string;
  id: string;
  leaseMs: number;
  /** The queues that it pulls work from. */
  queues: readonly string[];
  about: About;
  /** Called with a connection after every heartbeat. */
  onBeat(client: pg.Client): Promise<void>;
  /** Called when there may be new work. */
  onWork(): void;
  log: DurableLog;
}

async function enter(client: pg.Client, membership: Membership, pulse: Pulse): Promise<void> {
  const { id, schema } = membership;
  await client.connect();
  // Registered before the first query, so that no work is missed by both.
  client.on('notification', () => pulse.work());
  await listenForWork(client, schema);
  await lockExecutor(client, id);
  await recordHeartbeat(client, schema, membership);
}

/** What a process knows about its own heartbeats. */
interface Pulse {
  /** When the last heartbeat was begun or attempted; Infinity while it pauses between two. */
  activeMs: number;
  busy: boolean;
  /** How often it was notified of new work. */
  notifications: number;
  bell: Bell;
  /** Notes that there is new work. */
  work(): void;
}

/**
 * Sends heartbeats, reaps dead processes and checks on its own work until the connection is lost or the signal aborts.
 */
async function beatOn(client: pg.Client, membership: Membership, pulse: Pulse, signal: AbortSignal): Promise<void> {
  const { service, schema, id, leaseMs, log } = membership;
  while (!signal.aborted) {
    pulse.activeMs = Date.now();
    const { notifications } = pulse;
    await recordHeartbeat(client, schema, membership);
    const { expired, requeued, busy } = await reap(client, schema, id, leaseMs);
    if (busy && !pulse.busy) membership.onWork();
    // Notifications since then may be about work that the query did not see.
    pulse.busy = busy || pulse.notifications > notifications;
    if (expired > 0) countExpiries(service, expired);
    for (const workflow of requeued) {
      log.info({ workflow }, `${workflow} is back in its queue: its process is gone`);
    }
    await membership.onBeat(client);
    pulse.activeMs = Infinity;
    if (pulse.busy) await sleep(beatMs, undefined, { signal }).catch(() => undefined);
    else await pulse.bell.wait(leaseMs, signal);
  }
}

function connection({ url }: Membership): pg.Client {
  const client = new pg.Client({ connectionString: url, keepAlive: true, connectionTimeoutMillis: 5000 });
  // A lost connection also fails the current query or the next one.
  client.on('error', () => undefined);
  return client;
}

/** Announces this process as alive until it retires. Reconnects by itself after an outage of Postgres. */
export async function join(membership: Membership): Promise<Executor> {
  const { schema, id, log } = membership;
  const stopping = new AbortController();
  const pulse: Pulse = {
    activeMs: Date.now(),
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
        log.warn({ err: error }, 'the connection to Postgres was lost; reconnecting');
        await client.end().catch(() => undefined);
        client = await reconnect(membership, pulse, stopping.signal);
      }
    }
  })();
  return {
    isAlive: () => Date.now() - pulse.activeMs < stuckMs,
    isBusy: () => pulse.busy,
    retire: async () => {
      stopping.abort();
      await beating;
      // If Postgres is down, the other processes notice the missing heartbeats.
      await removeExecutor(client, schema, id).catch(() => undefined);
      await client.end().catch(() => undefined);
    },
  };
}

async function reconnect(membership: Membership, pulse: Pulse, signal: AbortSignal): Promise<pg.Client> {
  for (;;) {
    pulse.activeMs = Date.now();
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
