import { Push, PushArtifactRequest, PushState, type Artifact } from '@pairwise/api';
import { callOf, runOnce, type Database, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { repositoryLocation, type HubAccess } from '@pairwise/hub';
import { newId, parseName, refuseField } from '@pairwise/rpc';
import type { Exports } from './exports.ts';
import { artifactPattern, exportOf, type Pushes } from './pushes.ts';

/** Where this server may push to. */
export interface PushAccess extends HubAccess {
  /** Owners of repositories. */
  namespaces: readonly string[];
}

export interface StartPushDeps {
  database: Database;
  exports: Exports;
  pushes: Pushes;
  hub: PushAccess;
  /** Queues the work of a push when the transaction commits. */
  enqueuePush: (name: string, tx: Queries) => Promise<void>;
}

/** Implements `PushArtifact`: checks the target and the artifact, and queues the push. */
export async function startPush(deps: StartPushDeps, request: PushArtifactRequest): Promise<Push> {
  const { database, exports, pushes, hub, enqueuePush } = deps;
  const { name: artifactName } = request;
  const ids = parseName(artifactPattern, artifactName, 'name');
  const target = targetOf(request, `Add ${ids.artifact} of ${ids.export}`);
  requirePermission(hub, target.repoId);
  const call = callOf('PushArtifact', PushArtifactRequest, request);
  const pushName = await runOnce(database, call, async (tx) => {
    // The lock keeps the export from being deleted meanwhile, and another call from creating the same push.
    const { export: exported } = await exports.change(exportOf(artifactName), () => 'unchanged', tx);
    const artifact = exported.artifacts.find((each) => each.name === artifactName);
    const now = new Date();
    const push = Push.create({
      ...target,
      name: `${artifactName}/pushes/${newId('', 'push', 'push_id')}`,
      state: PushState.QUEUED,
      totalSizeBytes: sizeOf(requireVerified(artifact, artifactName)),
      createTime: now,
      updateTime: now,
    });
    const active = await pushes.findActive(push, tx);
    if (active !== undefined) return active;
    await pushes.create(push.name, exported.name, push, tx);
    await enqueuePush(push.name, tx);
    return push.name;
  });
  return pushes.get(pushName);
}

function targetOf({ repoId, private: isPrivate = true, revision, commitMessage }: PushArtifactRequest, title: string) {
  repositoryLocation(repoId, undefined, 'repo_id');
  const location = repositoryLocation(repoId, revision, 'revision');
  if (/^[0-9a-f]{40}$/.test(location.revision)) refuseField('revision', 'is a commit; it must be a branch');
  if (commitMessage.length > 200 || /[\r\n\0]/.test(commitMessage)) {
    refuseField('commit_message', 'must be one line of at most 200 characters');
  }
  return { repoId, revision: location.revision, private: isPrivate, commitMessage: commitMessage || title };
}

function requirePermission({ namespaces, token }: PushAccess, repoId: string): void {
  const off = (variable: string, remedy: string) =>
    new PairwiseError('WRONG_STATE', `this server does not push to the hub: its ${variable} is not set; ${remedy}`);
  if (namespaces.length === 0) throw off('PAIRWISE_HUB_PUSH_NAMESPACES', 'list the owners that it may push to');
  if (token === undefined) throw off('HF_TOKEN', 'set it to a token with write access to what it pushes to');
  const [owner = ''] = repoId.split('/');
  if (namespaces.some((each) => each.toLowerCase() === owner.toLowerCase())) return;
  const allowed = `PAIRWISE_HUB_PUSH_NAMESPACES lists ${namespaces.join(', ')}`;
  throw new PairwiseError('PERMISSION_DENIED', `repo_id: this server may not push to ${owner}; ${allowed}`, {
    field: 'repo_id',
  });
}

/** Throws unless the artifact is finished, and verified if it is one that is verified. */
function requireVerified(artifact: Artifact | undefined, name: string): Artifact {
  if (artifact === undefined) {
    throw new PairwiseError('NOT_FOUND', `name: there is no artifact '${name}'`, { field: 'name' });
  }
  if (artifact.format !== 'gguf' || artifact.verification !== undefined) return artifact;
  const message = `name: '${name}' has not been verified with llama.cpp; wait until its export has succeeded`;
  throw new PairwiseError('WRONG_STATE', message, { field: 'name' });
}

const sizeOf = ({ files }: Artifact) => files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
