import { PairwiseError } from '@pairwise/errors';
import { isRecord } from '@pairwise/safetensors';
import { isCommit } from './cache.ts';
import { startOf, type PushFile, type Remote } from './pushFile.ts';
import { callHub, notAHub } from './pushRequest.ts';
import { hubUrl, TransientError } from './request.ts';

/** The largest file that is part of the commit's own request, in bytes, whatever the hub allows. */
const maxInlineBytes = 10 * 1024 * 1024;
/** What the hub sees of a file to decide whether it is text. */
const sampleBytes = 512;

/** Creates the repository unless it exists. Throws WRONG_STATE if it exists and is not as private as it should be. */
export async function requireRepository(remote: Remote, signal: AbortSignal): Promise<void> {
  const { hub, owner, name, repoId, isPrivate } = remote;
  const what = `access to ${repoId}`;
  const url = hubUrl(hub, 'api', 'models', owner, name);
  const found = await callHub(hub, { url, what, expected: [404] }, signal);
  if (found === 404) return createRepository(remote, signal);
  if (!isRecord(found) || typeof found['private'] !== 'boolean') throw notAHub(what);
  if (found['private'] === isPrivate) return;
  const [is, wanted] = isPrivate ? ['public', 'private'] : ['private', 'public'];
  throw new PairwiseError(
    'WRONG_STATE',
    `${repoId} exists and is ${is}, but the push says ${wanted}; push it as ${is}, or change the repository on the hub`,
    { field: 'private' },
  );
}

async function createRepository(remote: Remote, signal: AbortSignal): Promise<void> {
  const { hub, owner, name, repoId, isPrivate } = remote;
  const body = JSON.stringify({ type: 'model', organization: owner, name, private: isPrivate });
  const url = hubUrl(hub, 'api', 'repos', 'create');
  const created = await callHub(hub, { url, what: `the creation of ${repoId}`, body, expected: [409] }, signal);
  if (created === 409) throw new TransientError(`${repoId} is being created by another program`, 0);
}

/** Returns the commit that the branch points to. Creates the branch unless it exists. */
export async function openBranch({ hub, owner, name, repoId, branch }: Remote, signal: AbortSignal): Promise<string> {
  const what = `access to ${repoId}@${branch}`;
  const call = { url: hubUrl(hub, 'api', 'models', owner, name, 'revision', branch), what, expected: [404] };
  let found = await callHub(hub, call, signal);
  if (found === 404) {
    const url = hubUrl(hub, 'api', 'models', owner, name, 'branch', branch);
    const creation = { url, what: `the creation of ${repoId}@${branch}`, body: '{}', expected: [409] };
    await callHub(hub, creation, signal);
    found = await callHub(hub, { ...call, expected: [] }, signal);
  }
  const sha = isRecord(found) ? found['sha'] : undefined;
  if (typeof sha !== 'string' || !isCommit(sha)) throw notAHub(what);
  return sha;
}

/** The paths of the files that the hub wants within the commit itself: small texts. All others belong in its storage. */
export async function inlinePaths(
  { hub, owner, name, repoId, branch }: Remote,
  files: readonly PushFile[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const what = `the preparation of ${repoId}@${branch}`;
  const described = files.map(async (file) => {
    const sample = await startOf(file, Math.min(file.sizeBytes, sampleBytes));
    return { path: file.path, size: file.sizeBytes, sample: sample.toString('base64') };
  });
  const body = JSON.stringify({ files: await Promise.all(described) });
  const url = hubUrl(hub, 'api', 'models', owner, name, 'preupload', branch);
  const answer = await callHub(hub, { url, what, body }, signal);
  const modes: unknown = isRecord(answer) ? answer['files'] : undefined;
  if (!Array.isArray(modes)) throw notAHub(what);
  const regular = new Set(
    modes
      .filter((each) => isRecord(each) && each['uploadMode'] === 'regular')
      .map((each: { path: unknown }) => each.path),
  );
  const inline = files.filter(({ path, sizeBytes }) => regular.has(path) && sizeBytes <= maxInlineBytes);
  return new Set(inline.map(({ path }) => path));
}
