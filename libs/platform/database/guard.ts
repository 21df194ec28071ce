import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';

/** Stops a server whose owner was killed. */
export interface Guard {
  /** Names the server that is to be stopped; undefined while there is none. */
  watch(pid: number | undefined): void;
  /** Held open by everyone who needs the server. */
  lifeline: Writable;
  /** Ends the guard, and does nothing to the server. */
  dismiss(): void;
}

// Reads which server runs now, until nobody holds the other end of its input any more; then stops it gracefully.
const script = 'while read -r pid; do server=$pid; done; [ -z "$server" ] || kill -INT "$server"';

/**
 * Starts a guard: a shell, of one megabyte, that waits for the end of its input. The system closes that when the last
 * process is gone that has it open, however they went; Postgres itself does not notice the end of who started it.
 */
export function openGuard(): Guard {
  // In its own session: Ctrl-C in a terminal is for the owner.
  const shell = spawn('/bin/sh', ['-c', script], { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  const lifeline = shell.stdin;
  // Without the guard the next start finds the server that was left.
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
