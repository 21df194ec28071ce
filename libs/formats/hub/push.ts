import { uploadLfs } from './lfs.ts';
import { changesTo, commitChanges } from './pushCommit.ts';
import type { PushFile, PushTarget, Remote } from './pushFile.ts';
import { inlinePaths, openBranch, requireRepository } from './pushRepository.ts';
import { slowMs } from './pushRequest.ts';
import { hubUrl, patiently, type HubAccess } from './request.ts';

export interface PushOptions {
  /** Called with the bytes of the files that the hub has, and their size. */
  onProgress?: (progress: { pushedBytes: number; totalBytes: number }) => void;
  signal?: AbortSignal | undefined;
}

/** What the branch points to after a push. */
export interface Pushed {
  commit: string;
  /** The commit's page. */
  url: string;
}

/**
 * Makes the files part of a branch on the hub, in one commit. Files that the hub has are not uploaded again, so repeating
 * a failed push resumes it; if nothing differs, there is no new commit. Other files of the branch remain, except for the
 * list of weights that would make another program read the wrong ones. Memory does not grow with the files.
 * Throws UPLOAD_FAILED, PERMISSION_DENIED, NOT_FOUND, WRONG_STATE (an existing repository is not as private as the target
 * says), DAMAGED_DATA (a file does not have its digest) and what reading a file throws.
 */
export async function pushFiles(
  hub: HubAccess,
  target: PushTarget,
  files: readonly PushFile[],
  { onProgress, signal }: PushOptions = {},
): Promise<Pushed> {
  const [owner = '', name = ''] = target.repoId.split('/');
  const remote: Remote = { ...target, hub, owner, name };
  const retried = <T>(work: (signal: AbortSignal) => Promise<T>, patienceMs?: number) =>
    patiently(work, { signal, reason: 'UPLOAD_FAILED', patienceMs });
  await retried((each) => requireRepository(remote, each));
  const head = await retried((each) => openBranch(remote, each));
  const inline = await retried((each) => inlinePaths(remote, files, each));
  const { changed } = await retried((each) => changesTo(remote, head, files, each));

  const totalBytes = sizeOf(files);
  let pushedBytes = totalBytes - sizeOf(changed);
  const report = (sentBytes: number) => onProgress?.({ pushedBytes: pushedBytes + sentBytes, totalBytes });
  report(0);
  for (const file of changed) {
    if (!inline.has(file.path)) {
      await uploadLfs({ remote, file, signal, onSent: report });
    }
    pushedBytes += file.sizeBytes;
    report(0);
  }
  const commit = await retried((each) => commitChanges(remote, files, inline, each), slowMs);
  return { commit, url: hubUrl(hub, owner, name, 'commit', commit).href };
}

function sizeOf(files: readonly PushFile[]): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
