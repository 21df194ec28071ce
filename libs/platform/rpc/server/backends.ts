import { type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders, connect } from 'node:http2';

/**
 * Calls that one session carries; the next call opens another session. Servers take 1000 on each and leave the rest
 * waiting without an error, so a session must never be filled.
 */
const callsPerSession = 500;

/** Flow control of a whole session: a stream whose reader is slow holds 64 KiB of it, and must not hold up others. */
export const sessionWindowBytes = 64 * 1024 * 1024;

export interface Backends {
  /** Begins a call to the backend at `host:port`. Throws what `http2` throws for headers that it does not send. */
  request(address: string, headers: OutgoingHttpHeaders): ClientHttp2Stream;
  /** Ends all sessions at once. */
  close(): void;
}

interface Connection {
  session: ClientHttp2Session;
  calls: number;
}

/** The sessions to all backends, opened as calls need them and closed once another has room for theirs. */
export function openBackends(): Backends {
  const connections = new Map<string, Connection[]>();

  function dial(address: string, siblings: Connection[]): Connection {
    const session = connect(`http://${address}`);
    const connection: Connection = { session, calls: 0 };
    siblings.push(connection);
    session.on('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(sessionWindowBytes);
    });
    // Each call on it fails by itself.
    session.on('error', () => undefined);
    const forget = () => {
      if (siblings.includes(connection)) siblings.splice(siblings.indexOf(connection), 1);
    };
    // A backend that is stopping finishes its calls, but takes no new ones.
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
