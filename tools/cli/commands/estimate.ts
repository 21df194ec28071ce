import { ActivationCheckpointing, RunEstimate, type WorkerMemory } from '@pairwise/api';
import { enumName, plannedBytes } from '@pairwise/rpc';
import type { Context } from '../context.ts';
import { exitCodes, usage } from '../exit.ts';
import { fields, formatBytes, formatCount, formatSeconds, say, sayJson } from '../output.ts';
import { readSpec } from '../spec/read.ts';

export const estimateHelp = `
The spec is that of 'pairwise runs create'. If the model is imported, its pairs are encoded, which the run would do as
well; otherwise the longest pairs that max_length allows stand for them. Times come from the rates that the workers have
reached so far.

Example:
  $ pairwise runs estimate -f run.yaml --set base_quantization=NF4`;

/** `pairwise runs estimate`. */
export async function estimateSpec(
  { services, json, project }: Context,
  { file, set = [] }: { file?: string; set?: string[] },
): Promise<number> {
  if (file === undefined && set.length === 0) usage('give the spec with --file, or its fields with --set');
  const spec = await readSpec(file, set, project);
  const estimate = (await services.orchestrator.estimateRun({ parent: project, spec })).estimate!;
  if (json) sayJson(RunEstimate.toJSON(estimate));
  else say(estimateText(estimate));
  return exitCodes.succeeded;
}

/** An estimate for people. */
export function estimateText({ training, reference, pairs }: RunEstimate): string {
  if (training === undefined) return 'The model is being imported; estimate the run when that has ended.';
  const { memory, stepCount, durationSeconds, resolvedSpec, workerCount } = training;
  const { activationCheckpointing, microBatchRows } = resolvedSpec!;
  const checkpointing = enumName(ActivationCheckpointing, activationCheckpointing);
  return fields([
    [
      'pairs',
      pairs === undefined ? '' : `${formatCount(pairs.encodedCount)}, ${formatCount(pairs.leftOutCount)} left out`,
    ],
    ['reference', reference === undefined ? '' : referenceText(reference)],
    ['', reference?.memory === undefined ? '' : memoryText(reference.memory)],
    ['training', [`${formatCount(stepCount)} steps`, timeText(durationSeconds)].join(', ')],
    ['', memoryText(memory!)],
    ['', `activation checkpointing ${checkpointing}, micro-batches of ${formatCount(microBatchRows!)} tokens`],
    [
      'workers',
      workerCount === 0 ? 'none is running: nothing can be checked against their memory' : formatCount(workerCount),
    ],
  ]);
}

function referenceText({
  responseCount,
  missingCount,
  durationSeconds,
}: NonNullable<RunEstimate['reference']>): string {
  if (missingCount === 0) return `all ${formatCount(responseCount)} responses are in the store`;
  const count = `${formatCount(missingCount)} of ${formatCount(responseCount)} responses to compute`;
  return [count, timeText(durationSeconds)].join(', ');
}

/** The planned memory with its parts. */
export function memoryText(memory: WorkerMemory): string {
  const { weightBytes, activationBytes, adapterBytes, processBytes, availableBytes } = memory;
  const parts = [
    `weights ${formatBytes(weightBytes)}`,
    `activations ${formatBytes(activationBytes)}`,
    ...(adapterBytes > 0n ? [`adapter and optimizer ${formatBytes(adapterBytes)}`] : []),
    `process ${formatBytes(processBytes)}`,
  ];
  const available = availableBytes > 0n ? ` of ${formatBytes(availableBytes)}` : '';
  return `${formatBytes(plannedBytes(memory))}${available}: ${parts.join(', ')}`;
}

function timeText(seconds: number | undefined): string {
  return seconds === undefined ? 'time unknown until a worker has been measured' : `about ${formatSeconds(seconds)}`;
}
