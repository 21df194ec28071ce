import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from './content.ts';

/** How often a process says that it lives, and the silence after which it is taken for dead. */
const beatMs = 5000;
const silenceMs = 60_000;

/** A process among those that share a cache, and what it has there: dead, all of it counts for nothing. */
export interface Presence {
  readonly id: string;
  /** Its folder: `open` has the links to what it uses, `incoming` downloads, `outgoing` what it is about to upload. */
  readonly folder: string;
  leave(): Promise<void>;
}

const processesOf = (root: string) => join(root, 'processes');

/**
 * Enters a cache. The mark of life is the time of the process's folder: the processes may be in different containers, so
 * that pids say nothing.
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
    // A process that was frozen for long finds its folder gone.
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

/** Whether the process of that id lives. */
export async function isAlive(root: string, id: string): Promise<boolean> {
  const found = await stat(join(processesOf(root), id)).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs < silenceMs;
}

/** Removes what dead processes left, and tells the folders of the others. */
export async function livingFolders(root: string): Promise<string[]> {
  const living: string[] = [];
  for (const id of await readdir(processesOf(root))) {
    const folder = join(processesOf(root), id);
    if (await isAlive(root, id)) living.push(folder);
    else await rm(folder, { recursive: true, force: true });
  }
  return living;
}
