import { createHash } from 'node:crypto';
import { indexName, isRecord } from '@pairwise/safetensors';
import { isCommit } from './cache.ts';
import { lfsObject, startOf, type PushFile, type Remote } from './pushFile.ts';
import { openBranch } from './pushRepository.ts';
import { callHub, notAHub } from './pushRequest.ts';
import { hubUrl, TransientError } from './request.ts';

/** What a commit has to change. */
interface Changes {
  /** The files that the branch lacks or has with other content. */
  changed: PushFile[];
  /** Paths to delete. */
  deleted: string[];
}

/** Programs read a model's weights by one of these; with both in a folder, some read the wrong weights. */
const weightLists = ['model.safetensors', indexName];

/** Compares files with those of a commit. */
export async function changesTo(
  { hub, owner, name, repoId }: Remote,
  commit: string,
  files: readonly PushFile[],
  signal: AbortSignal,
): Promise<Changes> {
  const paths = files.map(({ path }) => path);
  const others = weightLists.some((path) => paths.includes(path))
    ? weightLists.filter((path) => !paths.includes(path))
    : [];
  const what = `the list of files of ${repoId}`;
  const body = JSON.stringify({ paths: [...paths, ...others], expand: false });
  const url = hubUrl(hub, 'api', 'models', owner, name, 'paths-info', commit);
  const entries = await callHub(hub, { url, what, body }, signal);
  if (!Array.isArray(entries)) throw notAHub(what);
  const there = new Map(entries.filter(isRecord).map((entry) => [entry['path'], entry]));
  const changed: PushFile[] = [];
  for (const file of files) if (!(await isSame(file, there.get(file.path)))) changed.push(file);
  return { changed, deleted: others.filter((path) => there.has(path)) };
}

/** Whether an entry of the hub's has the file's content: by its sha256 in LFS, otherwise by its git object id. */
async function isSame(file: PushFile, entry: Record<string, unknown> | undefined): Promise<boolean> {
  if (entry === undefined) return false;
  const { lfs, size, oid } = entry;
  if (isRecord(lfs)) return lfs['oid'] === lfsObject(file).oid;
  if (size !== file.sizeBytes) return false;
  const hash = createHash('sha1').update(`blob ${file.sizeBytes}\0`);
  for await (const chunk of file.read(0, file.sizeBytes)) hash.update(chunk);
  return hash.digest('hex') === oid;
}

/**
 * Commits what differs from the branch's commit, and returns the branch's new commit; if nothing differs, its present one.
 * Throws TransientError if the branch has moved meanwhile.
 */
export async function commitChanges(
  remote: Remote,
  files: readonly PushFile[],
  inline: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<string> {
  const { hub, owner, name, repoId, branch, message } = remote;
  const head = await openBranch(remote, signal);
  const { changed, deleted } = await changesTo(remote, head, files, signal);
  if (changed.length + deleted.length === 0) return head;
  const lines: object[] = [{ key: 'header', value: { summary: message, description: '', parentCommit: head } }];
  for (const file of changed) lines.push(await lineOf(file, inline.has(file.path)));
  for (const path of deleted) lines.push({ key: 'deletedFile', value: { path } });
  const url = hubUrl(hub, 'api', 'models', owner, name, 'commit', branch);
  const what = `the commit to ${repoId}@${branch}`;
  const body = lines.map((line) => JSON.stringify(line)).join('\n');
  const answer = await callHub(hub, { url, what, body, type: 'application/x-ndjson', expected: [409, 412] }, signal);
  if (answer === 409 || answer === 412) throw new TransientError(`${repoId}@${branch} has moved during the push`, 0);
  const commit = isRecord(answer) ? answer['commitOid'] : undefined;
  if (typeof commit !== 'string' || !isCommit(commit)) throw notAHub(what);
  return commit;
}

async function lineOf(file: PushFile, isInline: boolean): Promise<object> {
  const { path, sizeBytes } = file;
  if (!isInline) return { key: 'lfsFile', value: { path, algo: 'sha256', ...lfsObject(file) } };
  const content = (await startOf(file, sizeBytes)).toString('base64');
  return { key: 'file', value: { path, content, encoding: 'base64' } };
}
