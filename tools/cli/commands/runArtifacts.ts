import type { Artifact, Run } from '@pairwise/api';
import type { Context } from '../context.ts';
import { resourceName } from '../names.ts';
import { readAll } from '../paging.ts';

/** Last part of an artifact's name. */
export const idOf = ({ name }: Artifact) => name.split('/').at(-1)!;

/** The artifacts of a run, which `text` names as the user typed it. */
export async function artifactsOf(
  { services, project }: Context,
  text: string,
): Promise<{ run: Run; artifacts: Artifact[] }> {
  const { run } = await services.orchestrator.getRun({ name: resourceName('runs', text, project) });
  const parent = run!.outputs?.export ?? '';
  if (parent === '') return { run: run!, artifacts: [] };
  const artifacts = await readAll(1000, async (page) => {
    const { artifacts: items, nextPageToken } = await services.export.listArtifacts({ parent, ...page });
    return { items, nextPageToken };
  });
  return { run: run!, artifacts };
}
