import type { HubAccess } from './request.ts';

/** A file to push. */
export interface PushFile {
  /** Its path in the repository. */
  path: string;
  sizeBytes: number;
  /** `sha256:<hex>` of its bytes. */
  digest: string;
  /** Streams bytes `start` to `end` (exclusive). */
  read(start: number, end: number): AsyncIterable<Uint8Array>;
}

/** Where to push, and as what. */
export interface PushTarget {
  /** `owner/name`. The repository is created if it does not exist. */
  repoId: string;
  /** The branch, which is created from `main` if it does not exist. */
  branch: string;
  /** Whether the repository is private. An existing one must be as this says. */
  isPrivate: boolean;
  /** The commit's message. */
  message: string;
}

/** A target on a hub. */
export interface Remote extends PushTarget {
  hub: HubAccess;
  /** The two parts of `repoId`. */
  owner: string;
  name: string;
}

/** How Git LFS names a file. */
export const lfsObject = ({ digest, sizeBytes }: PushFile) => ({
  oid: digest.slice('sha256:'.length),
  size: sizeBytes,
});

/** The first bytes of a file. */
export async function startOf({ read }: PushFile, sizeBytes: number): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(read(0, sizeBytes)));
}
