import { Push, PushState } from '@pairwise/api';
import { openDocuments, type Database, type Documents, type Queries } from '@pairwise/database';
import { hasEnded } from '@pairwise/rpc';

export const artifactPattern = 'projects/{project}/exports/{export}/artifacts/{artifact}';
export const pushPattern = `${artifactPattern}/pushes/{push}` as const;

/** Cancels the work of a push when the transaction commits. */
export type CancelPush = (name: string, tx: Queries) => Promise<void>;

/** Resource name of the export that an artifact or a push belongs to, which is the parent of its row. */
export const exportOf = (name: string) => name.split('/').slice(0, 4).join('/');

/** Resource name of the artifact of a push. */
export const artifactOf = (name: string) => name.split('/').slice(0, 6).join('/');

/** The pushes in Postgres. */
export interface Pushes extends Pick<Documents<Push>, 'create' | 'get' | 'change' | 'list'> {
  /** Returns the name of a push to the same target that has not ended; undefined if there is none. */
  findActive(push: Push, tx: Queries): Promise<string | undefined>;
  /** Requests the cancellation of a push that has not ended. Throws NOT_FOUND. */
  cancel(name: string, cancel: CancelPush, tx: Queries): Promise<Push>;
  /** Deletes all pushes of an export, and cancels those that have not ended. */
  removeAll(exportName: string, cancel: CancelPush, tx: Queries): Promise<void>;
}

export function openPushes(database: Database): Pushes {
  const documents = openDocuments<Push>(database, 'pushes', 'push', Push);
  return {
    create: documents.create,
    get: documents.get,
    change: documents.change,
    list: documents.list,
    async findActive(push, tx) {
      const rows = await tx.rows<{ document: unknown }>(
        'select document from pushes where parent = $1 and delete_time is null order by create_time',
        [exportOf(push.name)],
      );
      const found = rows.map(({ document }) => Push.fromJSON(document));
      return found.find((other) => !hasEnded(PushState, other) && targetOf(other) === targetOf(push))?.name;
    },
    cancel: (name, cancel, tx) => {
      const stop = async (push: Push) => {
        if (hasEnded(PushState, push) || push.state === PushState.CANCELLING) return 'unchanged';
        push.state = PushState.CANCELLING;
        push.updateTime = new Date();
        await cancel(name, tx);
        return 'changed';
      };
      return documents.change(name, stop, tx);
    },
    async removeAll(exportName, cancel, tx) {
      const sql = 'update pushes set delete_time = now() where parent = $1 and delete_time is null returning name';
      for (const { name } of await tx.rows<{ name: string }>(sql, [exportName])) await cancel(name, tx);
    },
  };
}

const targetOf = ({ name, repoId, revision, private: isPrivate, commitMessage }: Push) =>
  JSON.stringify([artifactOf(name), repoId, revision, isPrivate, commitMessage]);
