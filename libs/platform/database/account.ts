import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync } from 'node:fs';

/** How to start Postgres's programs: Postgres refuses to run as root. */
export interface Account {
  /** Command line of a program, wrapped where that is needed. */
  command(program: string, parameters: readonly string[]): [program: string, parameters: string[]];
  /** User and group for node:child_process; empty for the user that we already are. */
  ids: { uid?: number; gid?: number };
  /** Gives a file or folder to the account. */
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

/** User and group that run Postgres; undefined where it is our own user that does. */
function otherIds(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const ids = idsOf('postgres') ?? idsOf('nobody');
  if (ids === undefined) throw new Error('Postgres refuses to run as root, and there is no user postgres or nobody');
  return ids;
}

/**
 * Lets Postgres through a folder that is closed to everyone but us, to its own folder in there. Where another user runs
 * it, the folder's group becomes that user's and may pass (mode 0710), but not list, read or write anything.
 */
export function letPostgresPass(folder: string): void {
  const ids = otherIds();
  if (ids === undefined) return;
  chownSync(folder, 0, ids.gid);
  chmodSync(folder, 0o710);
}

/**
 * The account that runs Postgres: our own user, or as root the user `postgres` if there is one, else `nobody`; no user
 * is created. Folders below /root are closed to these; there the capability to pass through them is kept (`setpriv`,
 * part of util-linux). The account becomes owner of `folder` and must also reach `program`.
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
  // Without the last one the capability does not count in access(2), by which initdb looks for its own programs.
  const keep = [`--inh-caps=${capability}`, `--ambient-caps=${capability}`, '--securebits=+no_setuid_fixup'];
  return {
    command: (program, parameters) => ['setpriv', [...drop, ...keep, program, ...parameters]],
    ids: {},
    own,
  };
}
