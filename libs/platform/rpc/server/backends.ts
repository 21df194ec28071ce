import { type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders, connect } from 'node:http2';

/**
 * The number of calls on one session; the next call opens another session. Servers accept 1000 per session and keep the
 * rest waiting without an error, so a session must never be full.
 */
const callsPerSession = 500;

/**
 * The flow control window of a whole session. A stream with a slow reader occupies up to 64 KiB of it and must not
 * block the others.
 */
export const sessionWindowBytes = 64 * 1024 * 1024;

export interface Backends {
  /** Begins a call to the backend at `host:port`. Throws what `http2` throws for headers that it refuses to send. */
  request(address: string, headers: OutgoingHttpHeaders): ClientHttp2Stream;
  /** Ends all sessions immediately. */
  close(): void;
}

interface Connection {
  session: ClientHttp2Session;
  calls: number;
}

/**
 * Keeps sessions to all backends: opens them as calls need them, and closes one once another has room for its calls.
 */
export function openBackends(): Backends {
  const connections = new Map<string, Connection[]>();

  function dial(address: string, siblings: Connection[]): Connection {
    const session = connect(`http://${address}`);
    const connection: Connection = { session, calls: 0 };
    siblings.push(connection);
    session.on('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(sessionWindowBytes);
    });
    // Each call on it fails on its own.
    session.on('error', () => undefined);
    const forget = () => {
      if (siblings.includes(connection)) siblings.splice(siblings.indexOf(connection), 1);
    };
    // A backend that is shutting down finishes its calls but takes no new ones.
    session.on('goaway', forget);
    session.on('close', forget);
    return connection;
  }

  return {
    request: (address, headers) => {
      const siblings = connections.get(address) ?? [];
      connections.set(address, siblings);
      const usable = ({ session, calls }: Connection) =>
        calls < callsPerSession && !session.closed && !session.destroyed;
      const connection = siblings.find(usable) ?? dial(address, siblings);
      const stream = connection.session.request(headers);
      connection.calls += 1;
      stream.once('close', () => {
        connection.calls -= 1;
        const spare = siblings.some((other) => other !== connection && usable(other));
        if (connection.calls === 0 && spare) connection.session.close();
      });
      return stream;
    },
    close: () => {
      for (const { session } of [...connections.values()].flat()) session.destroy();
    },
  };
}
