import { createHash } from 'node:crypto';

/** The files of a commit; content in LFS is named by its sha256. */
type Tree = ReadonlyMap<string, { content: Buffer; lfs?: string }>;

/** A repository of the test hub. */
export interface TestRepository {
  isPrivate: boolean;
  /** The commits of each branch, oldest first. */
  branches: Map<string, { commit: string; message: string; files: Tree }[]>;
}

/** A response of the test hub. */
export interface Answer {
  status: number;
  json?: unknown;
  headers?: Record<string, string> | undefined;
}

interface Creation {
  organization: string;
  name: string;
  private: boolean;
}

/** The largest text that is part of a commit, in bytes; so small that specs need no large files. */
const inlineBytes = 1000;

/** For specs: the repositories behind a test hub, where a token may write those of one owner. */
export function testRepositories(writable: string) {
  const all = new Map<string, TestRepository>();
  const objects = new Map<string, Buffer>();

  const create = ({ organization, name, private: isPrivate }: Creation): Answer => {
    const repoId = `${organization}/${name}`;
    if (organization !== writable) return { status: 403 };
    if (all.has(repoId)) return { status: 409 };
    const files: Tree = new Map([['.gitattributes', { content: Buffer.from('*.safetensors filter=lfs') }]]);
    const branches = new Map([['main', [{ commit: idOf(files), message: 'initial commit', files }]]]);
    all.set(repoId, { isPrivate, branches });
    return { status: 200, json: { url: `https://hub/${repoId}` } };
  };

  return {
    all,
    objects,
    handle(method: string, path: string, body: unknown): Answer {
      if (path === '/api/repos/create') return create(body as Creation);
      const [, repoId = '', action, revision = ''] =
        /^\/api\/models\/([^/]+\/[^/]+)(?:\/(revision|branch|preupload|paths-info|commit)\/(.+))?$/.exec(path) ?? [];
      const repository = all.get(repoId);
      if (repository === undefined) return { status: 404 };
      const { branches, isPrivate } = repository;
      if (action === undefined) return { status: 200, json: { id: repoId, private: isPrivate } };
      if (method === 'POST' && action !== 'paths-info' && !repoId.startsWith(`${writable}/`)) return { status: 403 };
      const branch = branches.get(revision);
      if (action === 'branch') {
        if (branch !== undefined) return { status: 409 };
        branches.set(revision, [branches.get('main')!.at(-1)!]);
        return { status: 200 };
      }
      const at = branch?.at(-1) ?? [...branches.values()].flat().find(({ commit }) => commit === revision);
      if (at === undefined) return { status: 404 };
      if (action === 'revision') return { status: 200, json: { id: repoId, sha: at.commit } };
      if (action === 'preupload') return { status: 200, json: { files: modesOf(body as never) } };
      if (action === 'paths-info') return { status: 200, json: entriesOf(at.files, (body as { paths: [] }).paths) };
      const lines = (body as string).split('\n').map((line) => JSON.parse(line) as Line);
      return branch === undefined ? { status: 404 } : commit(branch, lines, objects);
    },
  };
}

function modesOf({ files }: { files: { path: string; size: number }[] }) {
  const modeOf = (path: string, size: number) =>
    path.endsWith('.safetensors') || size > inlineBytes ? 'lfs' : 'regular';
  return files.map(({ path, size }) => ({ path, uploadMode: modeOf(path, size) }));
}

function entriesOf(files: Tree, paths: readonly string[]) {
  return paths.flatMap((path) => {
    const file = files.get(path);
    if (file === undefined) return [];
    const { content, lfs } = file;
    const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
    return [{ type: 'file', path, oid, size: content.length, ...(lfs && { lfs: { oid: lfs, size: content.length } }) }];
  });
}

type Line =
  | { key: 'header'; value: { summary: string; parentCommit: string } }
  | { key: 'lfsFile'; value: { path: string; algo: 'sha256'; oid: string; size: number } }
  | { key: 'file'; value: { path: string; content: string; encoding: 'base64' } }
  | { key: 'deletedFile'; value: { path: string } };

/** Appends a commit to a branch, if its parent is the branch's last one and the hub has its objects. */
function commit(
  branch: { commit: string; message: string; files: Tree }[],
  lines: readonly Line[],
  objects: ReadonlyMap<string, Buffer>,
): Answer {
  const files = new Map(branch.at(-1)!.files);
  let message = '';
  for (const { key, value } of lines) {
    if (key === 'header') {
      if (value.parentCommit !== branch.at(-1)!.commit) return { status: 412 };
      message = value.summary;
    } else if (key === 'file') files.set(value.path, { content: Buffer.from(value.content, value.encoding) });
    else if (key === 'deletedFile') files.delete(value.path);
    else {
      const content = objects.get(value.oid);
      if (content?.length !== value.size) return { status: 400 };
      files.set(value.path, { content, lfs: value.oid });
    }
  }
  const id = idOf(files, branch.length);
  branch.push({ commit: id, message, files });
  return { status: 200, json: { success: true, commitOid: id, commitUrl: `https://hub/commit/${id}` } };
}

function idOf(files: Tree, number = 0): string {
  const hash = createHash('sha1').update(String(number));
  for (const [path, { content }] of files) hash.update(path).update(content);
  return hash.digest('hex');
}
