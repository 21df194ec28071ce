import { mkdir, statfs } from 'node:fs/promises';
import { PairwiseError } from '@pairwise/errors';
import {
  cachedCommit,
  hasBlob,
  isCommit,
  linkBlob,
  noteCommit,
  repositoryCache,
  type RepositoryCache,
} from './cache.ts';
import { bodyFrom, downloadBlob, keptBytes, type RemoteFile } from './download.ts';
import { checkTextSize, selectFiles } from './files.ts';
import { openSnapshot, readRange } from './folder.ts';
import type { RepositoryLocation } from './location.ts';
import type { DownloadOptions, LocalModel, ModelFile, OpenedModel } from './opened.ts';
import { checkAnswer, hubUrl, TransientError, patiently, send, type HubOptions } from './request.ts';

/** The largest list of a repository's files, in bytes. */
const maxListingBytes = 32 * 1024 * 1024;

/** A repository at a commit. */
interface Repository {
  hub: HubOptions;
  location: RepositoryLocation;
  commit: string;
  cache: RepositoryCache;
  files: RemoteFile[];
}

/**
 * Opens a model on the hub at the commit to which the revision points now (offline: at the last download).
 * Throws NOT_FOUND, PERMISSION_DENIED, DOWNLOAD_FAILED, OFFLINE, INVALID_MODEL, UNSUPPORTED_FORMAT (see `selectFiles`).
 */
export async function openRepository(hub: HubOptions, location: RepositoryLocation): Promise<OpenedModel> {
  const { repoId } = location;
  const cache = repositoryCache(hub.home, repoId);
  if (hub.offline) return openCached(cache, location);
  const { commit, names } = await list(hub, location);
  const remote = (name: string) => remoteFile(hub, repoId, commit, name);
  const selected = await selectFiles(names, async (name) => {
    const file = await remote(name);
    checkTextSize(name, file.sizeBytes);
    return readRemote({ hub, cache }, file, 0, file.sizeBytes);
  });
  const files = await Promise.all(selected.map(remote));
  const byName = new Map(files.map((file) => [file.path, file]));
  const repository: Repository = { hub, location, commit, cache, files };
  return {
    repoId,
    commit,
    files: files.map(describe),
    read: async (name, start, end) => {
      const file = byName.get(name);
      if (file !== undefined) return readRemote({ hub, cache }, file, start, end);
      throw new PairwiseError('NOT_FOUND', `${repoId} does not contain ${name}`, { field: name });
    },
    download: (options) => download(repository, options),
  };
}

/** A model that this or another tool has downloaded before. */
async function openCached(cache: RepositoryCache, { repoId, revision }: RepositoryLocation): Promise<OpenedModel> {
  const lacking = (problem: string, cause?: unknown) => {
    const remedy = 'unset HF_HUB_OFFLINE to download it';
    return new PairwiseError('OFFLINE', `the cache (HF_HOME) ${problem} ${repoId}@${revision}; ${remedy}`, {
      cause,
    });
  };
  const commit = await cachedCommit(cache, revision);
  if (commit === undefined) throw lacking('does not contain');
  try {
    const opened = await openSnapshot(cache.snapshot(commit), cache.path);
    return { ...opened, repoId, commit };
  } catch (cause) {
    if (cause instanceof PairwiseError && ['NOT_FOUND', 'INVALID_MODEL'].includes(cause.reason)) {
      throw lacking('contains only a part of', cause);
    }
    throw cause;
  }
}

async function list(hub: HubOptions, { repoId, revision }: RepositoryLocation) {
  const [organisation = '', name = ''] = repoId.split('/');
  const url = hubUrl(hub, 'api', 'models', organisation, name, 'revision', revision);
  const what = `${repoId}@${revision}`;
  const listing = await patiently(async (signal, alive) => {
    const { response } = await send(hub, url, { signal });
    checkAnswer(response, what, hub);
    return readJson(response, alive);
  });
  const { sha, siblings } = (listing ?? {}) as { sha?: unknown; siblings?: unknown };
  if (typeof sha !== 'string' || !isCommit(sha) || !Array.isArray(siblings)) {
    throw new PairwiseError('DOWNLOAD_FAILED', `${hub.endpoint} does not respond like a hub; check HF_ENDPOINT`);
  }
  const names = siblings.map((each) => (each as { rfilename?: unknown } | null)?.rfilename);
  return { commit: sha, names: names.filter((each) => typeof each === 'string') };
}

async function readJson(response: Response, alive: () => void): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      alive();
      size += chunk.length;
      if (size > maxListingBytes) throw new PairwiseError('DOWNLOAD_FAILED', "the hub's list of files is too large");
      chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch (cause) {
    if (cause instanceof PairwiseError) throw cause;
    if (cause instanceof SyntaxError) return undefined;
    throw new TransientError('the connection broke during the list of files', 0, cause);
  }
}

/** The size and digest of a file as the endpoint itself states them, before it redirects to the content. */
async function remoteFile(hub: HubOptions, repoId: string, commit: string, path: string): Promise<RemoteFile> {
  const [organisation = '', name = ''] = repoId.split('/');
  const url = hubUrl(hub, organisation, name, 'resolve', commit, path);
  const { response, linked } = await patiently((signal) => send(hub, url, { method: 'HEAD', leave: false, signal }));
  if (!response.headers.has('location')) checkAnswer(response, `${path} of ${repoId}`, hub);
  const etag = (linked.get('x-linked-etag') ?? response.headers.get('etag') ?? '').replace(/^(W\/)?"|"$/g, '');
  const sizeBytes = Number(linked.get('x-linked-size') ?? response.headers.get('content-length') ?? NaN);
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag) || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0) {
    throw new PairwiseError(
      'DOWNLOAD_FAILED',
      `the hub does not state the size and digest of ${path}; check HF_ENDPOINT`,
    );
  }
  return { path, sizeBytes, etag, url };
}

function describe({ path, sizeBytes, etag }: RemoteFile): ModelFile {
  return { path, sizeBytes, ...(etag.length === 64 ? { digest: `sha256:${etag}` as const } : {}) };
}

/** Bytes `start` to `end` of a file, from the cache if it has the file. */
async function readRemote(
  { hub, cache }: Pick<Repository, 'hub' | 'cache'>,
  file: RemoteFile,
  start: number,
  end: number,
): Promise<Uint8Array> {
  if (start >= end) return new Uint8Array(0);
  if (await hasBlob(cache, file.etag, file.sizeBytes)) return readRange(cache.blob(file.etag), start, end, file.path);
  return patiently(async (signal, alive) => {
    const bytes = new Uint8Array(end - start);
    let at = 0;
    for await (const chunk of bodyFrom(hub, file, start, signal, end)) {
      alive();
      const part = chunk.subarray(0, bytes.length - at);
      bytes.set(part, at);
      at += part.length;
      if (at === bytes.length) return bytes;
    }
    throw new TransientError(`the connection broke during the download of ${file.path}`, 0);
  });
}

async function download(repository: Repository, { onProgress, signal }: DownloadOptions = {}): Promise<LocalModel> {
  const { hub, location, commit, cache, files } = repository;
  const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const missing: RemoteFile[] = [];
  for (const file of files) if (!(await hasBlob(cache, file.etag, file.sizeBytes))) missing.push(file);
  const missingBytes = missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const kept = await Promise.all(missing.map(({ etag }) => keptBytes(cache.blob(etag))));
  await checkSpace(cache.path, missingBytes - kept.reduce((sum, bytes) => sum + bytes, 0));
  let receivedBytes = totalBytes - missingBytes;
  onProgress?.({ receivedBytes, totalBytes });
  for (const file of missing) {
    const before = receivedBytes;
    const onReceived = (bytes: number) => {
      receivedBytes = before + bytes;
      onProgress?.({ receivedBytes, totalBytes });
    };
    await downloadBlob(hub, file, cache.blob(file.etag), onReceived, signal);
    receivedBytes = before + file.sizeBytes;
  }
  for (const { path, etag } of files) await linkBlob(cache, commit, path, etag);
  // Last, so that a later offline run finds the whole new model or the previous one.
  await noteCommit(cache, location.revision, commit);
  return (await openSnapshot(cache.snapshot(commit), cache.path)).download();
}

/** Fails before the first byte rather than after hours. */
async function checkSpace(folder: string, neededBytes: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { bavail, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  if (neededBytes <= freeBytes) return;
  throw new PairwiseError(
    'DISK_FULL',
    `the model needs ${neededBytes} bytes, but the disk of the cache (HF_HOME) has only ${freeBytes} free`,
  );
}
