import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync } from 'node:fs';

/** How to start Postgres's programs, which refuse to run as root. */
export interface Account {
  /** The command line of a program, wrapped if necessary. */
  command(program: string, parameters: readonly string[]): [program: string, parameters: string[]];
  /** User and group for node:child_process; empty for our own user. */
  ids: { uid?: number; gid?: number };
  /** Makes the account the owner of a file or folder. */
  own(path: string): void;
}

function idsOf(user: string): { uid: number; gid: number } | undefined {
  try {
    const id = (flag: string) => Number(execFileSync('id', [flag, user], { stdio: ['ignore', 'pipe', 'ignore'] }));
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    return undefined;
  }
}

/** The user and group that run Postgres; undefined if our own user does. */
function otherIds(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const ids = idsOf('postgres') ?? idsOf('nobody');
  if (ids === undefined) throw new Error('Postgres refuses to run as root, and there is no user postgres or nobody');
  return ids;
}

/**
 * Lets Postgres pass through a folder that only we can enter, so that it reaches its own folder inside. If another user
 * runs Postgres, the folder gets that user's group, which may pass through it (mode 0710) but not list, read or write
 * anything.
 */
export function letPostgresPass(folder: string): void {
  const ids = otherIds();
  if (ids === undefined) return;
  chownSync(folder, 0, ids.gid);
  chmodSync(folder, 0o710);
}

/**
 * Returns the account that runs Postgres: our own user or, as root, the user `postgres` if it exists, else `nobody`.
 * Never creates a user. Those users cannot enter folders below /root; there Postgres keeps the capability to do so
 * (`setpriv`, part of util-linux). The account becomes the owner of `folder` and must also be able to reach `program`.
 */
export function postgresAccount(folder: string, program: string): Account {
  const plain: Account['command'] = (program, parameters) => [program, [...parameters]];
  const ids = otherIds();
  if (ids === undefined) return { command: plain, ids: {}, own: () => undefined };
  const own = (path: string) => {
    chownSync(path, ids.uid, ids.gid);
  };
  own(folder);
  const reached = spawnSync('/bin/sh', ['-c', 'test -r "$1" && test -x "$2"', 'sh', folder, program], {
    ...ids,
    cwd: '/',
  });
  if (reached.status === 0) return { command: plain, ids, own };
  const capability = '+dac_override';
  const drop = [`--reuid=${ids.uid}`, `--regid=${ids.gid}`, '--clear-groups'];
  // Without the last option the capability does not count in access(2), which initdb uses to find its programs.
  const keep = [`--inh-caps=${capability}`, `--ambient-caps=${capability}`, '--securebits=+no_setuid_fixup'];
  return {
    command: (program, parameters) => ['setpriv', [...drop, ...keep, program, ...parameters]],
    ids: {},
    own,
  };
}
