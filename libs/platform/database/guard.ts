import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';

/** Stops a server whose owner was killed. */
export interface Guard {
  /** Sets the server to stop; undefined while there is none. */
  watch(pid: number | undefined): void;
  /** Held open by every process that needs the server. */
  lifeline: Writable;
  /** Ends the guard without stopping the server. */
  dismiss(): void;
}

// Reads the pid of each new server until no process holds the other end of its input open; then stops the last one
// gracefully.
const script = 'while read -r pid; do server=$pid; done; [ -z "$server" ] || kill -INT "$server"';

/**
 * Starts a guard: a shell, which takes one megabyte and waits for the end of its input. The system closes that input
 * when the last process that holds it open is gone, however it ended. Postgres itself does not notice when its owner
 * dies.
 */
export function openGuard(): Guard {
  // In its own session, because Ctrl-C in a terminal is meant for the owner.
  const shell = spawn('/bin/sh', ['-c', script], { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  const lifeline = shell.stdin;
  // If the guard does not start, the next start finds the orphaned server.
  shell.on('error', () => undefined).unref();
  lifeline.on('error', () => undefined);
  return {
    watch: (pid) => void lifeline.write(`${pid ?? ''}\n`),
    lifeline,
    dismiss: () => {
      shell.kill('SIGKILL');
      lifeline.destroy();
    },
  };
}
