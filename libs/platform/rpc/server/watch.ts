import { setTimeout as sleep } from 'node:timers/promises';

/** A resource that callers watch, and the messages that they receive. */
export interface Watched<Resource, Message> {
  /** Reads the resource. Its etag changes with every change. */
  read(): Promise<Resource & { etag: string }>;
  /** Whether the resource will no longer change. */
  hasEnded(resource: Resource): boolean;
  /** Returns the message that shows the resource. */
  show(resource: Resource): Message;
  /** Reads the log entries that the caller has not received yet, oldest first. @default there is no log */
  newEntries?(): AsyncIterable<Message>;
  /** Returns the message to send when 15 s have passed without another one. @default the one that shows the resource */
  heartbeat?(resource: Resource): Message;
}

const pollMs = 200;
const heartbeatMs = 15_000;

/**
 * Yields every new log entry once and in order, and the resource whenever it has changed. The ended resource comes
 * last. If the signal aborts, it stops without it.
 */
export async function* watch<Resource, Message>(
  { read, hasEnded, show, newEntries, heartbeat = show }: Watched<Resource, Message>,
  signal: AbortSignal,
): AsyncGenerator<Message> {
  let shown = '';
  let quietSince = Date.now();
  while (!signal.aborted) {
    // The resource is read before its log, so that the log of an ended resource is complete.
    const resource = await read();
    for await (const entry of newEntries?.() ?? []) {
      quietSince = Date.now();
      yield entry;
    }
    const changed = resource.etag !== shown;
    if (changed || Date.now() - quietSince > heartbeatMs) {
      [shown, quietSince] = [resource.etag, Date.now()];
      yield changed ? show(resource) : heartbeat(resource);
    }
    if (hasEnded(resource)) return;
    await sleep(pollMs, undefined, { signal }).catch(() => undefined);
  }
}
