// A process for embedded.spec.ts that owns an embedded server until it is told, or made, to end.
import { startEmbeddedPostgres } from './embedded.ts';

const server = await startEmbeddedPostgres({ folder: process.argv[2]!, throwaway: true });
process.once('SIGTERM', () => {
  void server.stop().then(() => process.disconnect());
});
process.send!({ url: server.url, pid: server.pid() });
