import { ExportState } from '@pairwise/api';
import { retryKilled, type Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { isGguf } from '@pairwise/rpc';
import { count } from '@pairwise/telemetry';
import { makeArtifact, type ArtifactDeps } from './artifacts.ts';
import type { Exports, Fence } from './exports.ts';
import { openExportSource } from './source.ts';
import { verifyArtifact } from './verifyArtifact.ts';

export interface ExporterDeps extends ArtifactDeps {
  exports: Exports;
}

/** One attempt of an export. */
interface ExportRun extends ExporterDeps {
  name: string;
  fence: Fence;
}

/** Makes each artifact of an export in one activity, then verifies those for llama.cpp in another. */
export async function runExport(deps: ExporterDeps, name: string, { activity, fence }: Attempt): Promise<void> {
  const run: ExportRun = { ...deps, name, fence };
  const { exports } = deps;
  const enter = (state: ExportState, error?: unknown) => exports.enter(name, state, error, fence);
  try {
    const targets = await activity('begin', async () => {
      await enter(ExportState.RUNNING);
      const { request } = await exports.get(name);
      return request.targets.map((target) => ({ name: target.name, isGguf: isGguf(target) }));
    });
    for (const target of targets) {
      await activity(`make ${target.name}`, (signal) => retryKilled(signal, () => make(run, target.name, signal)));
    }
    await activity('made', () => enter(ExportState.VERIFYING));
    for (const target of targets.filter((each) => each.isGguf)) {
      await activity(`verify ${target.name}`, (signal) => retryKilled(signal, () => verify(run, target.name, signal)));
    }
    await activity('succeed', () => enter(ExportState.SUCCEEDED));
  } catch (error) {
    const cancelled = error instanceof PairwiseError && error.reason === 'CANCELLED';
    const state = cancelled ? ExportState.CANCELLED : ExportState.FAILED;
    await activity('fail', () => enter(state, cancelled ? undefined : error), { evenIfCancelled: true });
  }
}

/** Makes the artifact of one target, unless an earlier attempt has finished it. */
async function make(run: ExportRun, targetName: string, signal: AbortSignal): Promise<void> {
  const { exports, fence, name } = run;
  const { export: exported, request } = await exports.get(name);
  const artifactName = `${name}/artifacts/${targetName}`;
  if (exported.artifacts.some((artifact) => artifact.name === artifactName)) return;
  const target = request.targets.find((each) => each.name === targetName)!;
  await using source = await openExportSource(run, request, signal);
  const artifact = await makeArtifact(run, source, { name: artifactName, baseName: request.baseName, target }, signal);
  await exports.putArtifact(name, artifact, fence);
  const sizeBytes = artifact.files.reduce((sum, file) => sum + Number(file.sizeBytes), 0);
  const { format, type } = artifact;
  count('pairwise.export.size', sizeBytes, { 'pairwise.artifact.format': format, 'pairwise.artifact.type': type });
}

async function verify(run: ExportRun, targetName: string, signal: AbortSignal): Promise<void> {
  const { exports, fence, name } = run;
  const { export: exported, request } = await exports.get(name);
  const artifactName = `${name}/artifacts/${targetName}`;
  const artifact = exported.artifacts.find((each) => each.name === artifactName)!;
  await exports.putArtifact(name, await verifyArtifact(run, request, artifact, signal), fence);
}
