import type { Graph } from '@pairwise/onnx';
import { openSession, type Session, type SessionSpec } from './session.ts';

/** Opens what belongs to one model. All of it is closed when the holder moves to another model, or if opening fails. */
export interface Opening {
  /** Closes a resource together with the sessions. */
  use<R extends AsyncDisposable>(resource: R): R;
  /** Compiles a graph whose external data has absolute paths. Throws the errors of `openSession`. */
  session(graph: Graph): Promise<Session>;
  /** Returns a function that compiles the graph in its first call, and returns the same session in every call. */
  sessionOnDemand(graph: () => Graph): () => Promise<Session>;
}

/** What a worker has open on its accelerator: the sessions of one model at a time. */
export interface SessionHolder<Opened> {
  /**
   * Returns what is open under `key`. If nothing is, closes anything else and calls `openAll`. Calls must not overlap.
   */
  open(key: string, openAll: (opening: Opening) => Promise<Opened>): Promise<Opened>;
  /** Closes what is open. */
  close(): Promise<void>;
}

/**
 * Keeps the sessions of one model open between units of work, because compiling a graph takes seconds. Closes them when
 * a unit needs another model, because an accelerator rarely has memory for two.
 */
export function sessionHolder<Opened>(options: Pick<SessionSpec, 'device' | 'threads'>): SessionHolder<Opened> {
  let current: { key: string; opened: Opened; resources: AsyncDisposableStack } | undefined;

  async function close(): Promise<void> {
    const last = current;
    current = undefined;
    await last?.resources.disposeAsync();
  }

  return {
    close,
    open: async (key, openAll) => {
      if (current?.key === key) return current.opened;
      await close();
      await using opening = new AsyncDisposableStack();
      const sessionOnDemand = (graph: () => Graph) => {
        let session: Promise<Session> | undefined;
        opening.defer(async () => (await session)?.close());
        const retryLater = (error: unknown) => {
          session = undefined;
          throw error;
        };
        return () => (session ??= openSession({ ...options, graph: graph(), folder: '/' }).catch(retryLater));
      };
      const opened = await openAll({
        use: (resource) => opening.use(resource),
        session: (graph) => sessionOnDemand(() => graph)(),
        sessionOnDemand,
      });
      current = { key, opened, resources: opening.move() };
      return opened;
    },
  };
}
