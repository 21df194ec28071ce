import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExportState, ImportPolicy, RunSpec, type Artifact, type MetricPoint, type Run } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { errorOf } from '@pairwise/rpc';
import { downloadArtifactFile } from 'pairwise/commands/download';
import { uploadPairs } from 'pairwise/commands/upload';
import type { Services } from 'pairwise/connection';
import { followRun } from 'pairwise/watch/follow';
import { linesView } from 'pairwise/watch/lines';
import { terminalView } from 'pairwise/watch/terminal';
import type { Summary } from './summary.ts';

const parent = 'projects/default';

/** Imports a file of pairs as a dataset of its own, once per content. Returns the name of its version. */
export async function importPairsFile(
  services: Services,
  label: string,
  path: string,
  signal: AbortSignal,
): Promise<string> {
  const id = `${label}-${createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 8)}`;
  const name = `${parent}/datasets/${id}`;
  const request = { parent, datasetId: id, requestId: randomUUID(), validateOnly: false };
  await services.dataset.createDataset(request).catch((error: unknown) => {
    if (!(error instanceof PairwiseError) || error.reason !== 'ALREADY_EXISTS') throw error;
  });
  await uploadPairs(services, { parent: name, path, policy: ImportPolicy.STRICT, signal, onResume: () => undefined });
  const { dataset } = await services.dataset.getDataset({ name });
  if (dataset!.latestVersion > 0) return `${name}/versions/${dataset!.latestVersion}`;
  return (await services.dataset.sealVersion({ parent: name, requestId: randomUUID() })).version!.name;
}

/** Starts the demo's run, with defaults for everything that is not set here. */
export async function startRun(
  services: Services,
  { model, datasetVersion, heldOut }: { model: string; datasetVersion: string; heldOut: string },
): Promise<Run> {
  const spec = RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${model}` } },
    datasetVersion,
    evaluation: { $case: 'evalDatasetVersion', value: heldOut },
    training: {
      beta: 0.1,
      // 2.5e-4 to 4.5e-4 reach every target. At 5.5e-4 the loss is even lower, but the answers fall apart.
      learningRate: 3.5e-4,
      warmup: { $case: 'warmupRatio', value: 0.1 },
      tuning: { $case: 'lora', value: { r: 16, loraAlpha: 16 } },
    },
    exportTargets: [{ format: { $case: 'gguf', value: { type: 'F16' } } }, { format: { $case: 'adapter', value: {} } }],
  });
  const request = { parent, runId: '', spec, requestId: randomUUID(), validateOnly: false };
  return (await services.orchestrator.createRun(request)).run!;
}

/** Shows a run until it ends, and returns it with its metric points. Throws the run's error if it fails. */
export async function showRun(
  services: Services,
  name: string,
  signal: AbortSignal,
): Promise<{ run: Run; points: MetricPoint[] }> {
  const view = process.stdout.isTTY ? terminalView() : linesView();
  const points: MetricPoint[] = [];
  let run: Run | undefined;
  try {
    for await (const { payload } of followRun(services, name, { signal, lost: ({ message }) => view.lost(message) })) {
      if (payload?.$case === 'run') view.run((run = payload.value));
      if (payload?.$case === 'event') view.event(payload.value);
      if (payload?.$case === 'metrics') {
        points.push(payload.value);
        view.metrics(payload.value);
      }
    }
  } finally {
    view.close();
    // Otherwise the platform would resume it at its next start, beside the next demo's run.
    if (signal.aborted) await services.orchestrator.cancelRun({ name, requestId: randomUUID() });
  }
  if (run!.error !== undefined) throw errorOf(run!.error);
  return { run: run!, points };
}

/** Exports the base model as a GGUF file, once. Throws the export's error if it fails. */
export async function exportBase(services: Services, run: Run, signal: AbortSignal): Promise<Artifact> {
  const { model, encoding } = run.outputs!;
  const started = await services.export.startExport({
    parent,
    exportId: `base-${model.split('/').at(-1)!}`,
    source: { $case: 'model', value: model },
    targets: [{ name: '', format: { $case: 'gguf', value: { type: 'F16' } } }],
    baseName: 'base',
    encoding,
    evalEncoding: '',
  });
  const { name } = started.export!;
  for (;;) {
    const { export: now } = await services.export.getExport({ name }, { signal });
    if (now!.state === ExportState.SUCCEEDED) return now!.artifacts[0]!;
    if (now!.error !== undefined) throw errorOf(now!.error);
    await sleep(100, undefined, { signal });
  }
}

/** Downloads an artifact into `root/folder`. Returns its files with paths relative to `root`. */
export async function downloadArtifact(
  services: Services,
  { name: artifact, files, format, type }: Artifact,
  { root, folder, signal }: { root: string; folder: string; signal: AbortSignal },
): Promise<Summary['artifacts']> {
  const kind = [format, type].filter((text) => text !== '').join(' ');
  for (const file of files) {
    await downloadArtifactFile(services, {
      artifact,
      file,
      folder: join(root, folder),
      signal,
      onProgress: () => undefined,
    });
  }
  return files.map(({ path, digest }) => ({
    path: join(folder, path),
    sha256: digest.slice('sha256:'.length),
    type: kind,
  }));
}
