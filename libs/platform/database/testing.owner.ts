// A process for embedded.spec.ts that owns an embedded server until it is stopped or killed, and starts another process
// that needs the server.
import { spawn } from 'node:child_process';
import { startEmbeddedPostgres } from './embedded.ts';

const server = await startEmbeddedPostgres({ folder: process.argv[2]!, throwaway: true });
const client = spawn('sleep', ['300'], { detached: true, stdio: ['ignore', 'ignore', 'ignore', server.lifeline] });
process.once('SIGTERM', () => {
  client.kill();
  void server.stop().then(() => process.disconnect());
});
process.send!({ url: server.url, pid: server.pid(), client: client.pid });
