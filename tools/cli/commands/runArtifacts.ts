import type { Artifact, Run } from '@pairwise/api';
import type { Context } from '../context.ts';
import { usage } from '../exit.ts';
import { resourceName, shortName } from '../names.ts';
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

/** Ends the command: the run has no artifact `wanted`. */
export function refuseArtifact(run: Run, wanted: string, artifacts: readonly Artifact[], { project }: Context): never {
  const known = artifacts.map(idOf).join(', ') || 'none yet';
  usage(`${shortName(run.name, project)} has no artifact '${wanted}'; it has ${known}`);
}
