/**
 * Trains a model on a file of preference pairs, and downloads the result.
 *
 *     node tune.ts 127.0.0.1:7410 pairs.jsonl file:///models/base ./tuned
 *
 * A call with a request id can be repeated without doing its work twice, and a watch resumes after the last message received.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { credentials, Metadata, status, type CallOptions, type ServiceError } from '@grpc/grpc-js';
import { BadRequest, ErrorInfo } from './google/rpc/error_details.ts';
import { Status } from './google/rpc/status.ts';
import { DatasetServiceClient, ImportPolicy, type ImportPairsResponse } from './pairwise/v1/dataset.ts';
import { ExportServiceClient } from './pairwise/v1/export.ts';
import { CreateRunRequest, OrchestratorServiceClient, RunState, type Run } from './pairwise/v1/orchestrator.ts';

const [address = '', pairs = '', modelUri = '', folder = ''] = process.argv.slice(2);
const project = 'projects/default';
const chunkBytes = 1 << 16;
const ended: RunState[] = [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED];

const options = [address, credentials.createInsecure()] as const;
const datasets = new DatasetServiceClient(...options);
const runs = new OrchestratorServiceClient(...options);
const exports = new ExportServiceClient(...options);

/** Makes a unary method of a client return a promise. */
function unary<Request, Response>(
  client: object,
  method: (
    request: Request,
    metadata: Metadata,
    options: Partial<CallOptions>,
    callback: (error: ServiceError | null, response: Response) => void,
  ) => unknown,
): (request: Request) => Promise<Response> {
  return (request) =>
    new Promise((resolve, reject) => {
      method.call(client, request, new Metadata(), {}, (error, response) =>
        error ? reject(error) : resolve(response),
      );
    });
}

const digestOf = (content: Uint8Array) => `sha256:${createHash('sha256').update(content).digest('hex')}`;

/** The reason of an error, and the field of the request that it is about; both may be empty. */
function reasonOf(metadata: Metadata): string[] {
  const [details] = metadata.get('grpc-status-details-bin');
  let [reason, field] = ['', ''];
  for (const { typeUrl, value } of Status.decode(details as Buffer).details) {
    if (typeUrl.endsWith('ErrorInfo')) reason = ErrorInfo.decode(value).reason;
    if (typeUrl.endsWith('BadRequest')) field = BadRequest.decode(value).fieldViolations[0]!.field;
  }
  return [reason, field];
}

/** Uploads a file as a new dataset, and returns the name of its sealed version. */
async function importPairs(path: string): Promise<string> {
  const create = { parent: project, datasetId: '', requestId: randomUUID(), validateOnly: false };
  const { dataset } = await unary(datasets, datasets.createDataset)(create);
  const { name } = dataset!;
  const content = readFileSync(path);
  await new Promise<ImportPairsResponse>((resolve, reject) => {
    const call = datasets.importPairs((error, response) => (error ? reject(error) : resolve(response)));
    const header = { parent: name, importId: 'pairs', offsetBytes: 0n, policy: ImportPolicy.STRICT };
    call.write({ payload: { $case: 'header', value: header } });
    for (let at = 0; at < content.length; at += chunkBytes) {
      call.write({ payload: { $case: 'chunk', value: content.subarray(at, at + chunkBytes) } });
    }
    call.write({ payload: { $case: 'finish', value: { digest: digestOf(content) } } });
    call.end();
  });
  const { version } = await unary(datasets, datasets.sealVersion)({ parent: name, requestId: randomUUID() });
  return version!.name;
}

/** Starts a run of four steps, and returns its name. */
async function createRun(datasetVersion: string): Promise<string> {
  const request = CreateRunRequest.fromPartial({
    parent: project,
    requestId: randomUUID(),
    spec: {
      model: { source: { $case: 'uri', value: modelUri } },
      datasetVersion,
      training: {
        duration: { $case: 'maxSteps', value: 4 },
        loggingSteps: 1,
        tuning: { $case: 'lora', value: { r: 4 } },
      },
      exportTargets: [{ name: 'adapter', format: { $case: 'adapter', value: {} } }],
    },
  });
  const { run } = await unary(runs, runs.createRun)(request);
  return run!.name;
}

/** Prints what happens in a run until it has ended, and returns it. */
async function watch(name: string): Promise<Run> {
  let resumeToken = '';
  for (;;) {
    try {
      for await (const message of runs.watchRun({ name, resumeToken })) {
        ({ resumeToken } = message);
        const { payload } = message;
        if (payload?.$case === 'event') console.log('event', payload.value.message);
        if (payload?.$case === 'metrics' && 'loss' in payload.value.values) {
          console.log('loss', payload.value.step, payload.value.values['loss']);
        }
      }
      const { run } = await unary(runs, runs.getRun)({ name });
      if (ended.includes(run!.state)) return run!;
    } catch (error) {
      if ((error as ServiceError).code !== status.UNAVAILABLE) throw error;
    }
    console.log('resuming');
  }
}

/** Stores the files of a run's artifacts. */
async function download(run: Run): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const { name, files } of run.outputs!.artifacts) {
    for (const { path, digest } of files) {
      const chunks: Uint8Array[] = [];
      for await (const { chunk } of exports.downloadArtifact({ name, path, offsetBytes: 0n })) chunks.push(chunk);
      const content = Buffer.concat(chunks);
      if (digestOf(content) !== digest) throw new Error(`${path} was damaged on its way`);
      writeFileSync(join(folder, basename(path)), content);
      console.log('downloaded', path);
    }
  }
}

const nowhere = CreateRunRequest.fromPartial({ parent: 'nowhere' });
const callCreateRun = unary(runs, runs.createRun);
await callCreateRun(nowhere).catch(({ metadata }: ServiceError) => console.log('refused', ...reasonOf(metadata)));
const run = await watch(await createRun(await importPairs(pairs)));
if (run.state !== RunState.SUCCEEDED) throw new Error(run.error!.message);
await download(run);
for (const client of [datasets, runs, exports]) client.close();
