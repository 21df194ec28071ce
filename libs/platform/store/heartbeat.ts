import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from './content.ts';

/** The interval between heartbeats, and the silence after which a process counts as dead. */
const beatMs = 5000;
const silenceMs = 60_000;

/** A process that shares a cache, and what it has there. Once it is dead, all of that is ignored. */
export interface Presence {
  readonly id: string;
  /** Its folder: `open` has links to the copies it uses, `incoming` has downloads, `outgoing` has files to upload. */
  readonly folder: string;
  leave(): Promise<void>;
}

const processesOf = (root: string) => join(root, 'processes');

/**
 * Enters a cache. The heartbeat is the modification time of the process's folder, because processes may be in different
 * containers, where pids mean nothing.
 */
export async function enter(root: string): Promise<Presence> {
  const id = randomUUID();
  const folder = join(processesOf(root), id);
  const make = async () => {
    for (const name of ['open', 'incoming', 'outgoing']) {
      await mkdir(join(folder, name), { recursive: true, mode: 0o700 });
    }
  };
  await make();
  const beat = setInterval(() => {
    // If the process was frozen for a long time, its folder is gone.
    utimes(folder, new Date(), new Date()).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error;
      return left ? undefined : make();
    });
  }, beatMs).unref();
  let left = false;
  return {
    id,
    folder,
    async leave() {
      left = true;
      clearInterval(beat);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Whether the process with that id is alive. */
export async function isAlive(root: string, id: string): Promise<boolean> {
  const found = await stat(join(processesOf(root), id)).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs < silenceMs;
}

/** Removes what dead processes left behind; returns the folders of the others. */
export async function livingFolders(root: string): Promise<string[]> {
  const living: string[] = [];
  for (const id of await readdir(processesOf(root))) {
    const folder = join(processesOf(root), id);
    if (await isAlive(root, id)) living.push(folder);
    else await rm(folder, { recursive: true, force: true });
  }
  return living;
}
