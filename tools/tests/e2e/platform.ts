import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DatasetServiceService,
  DiagnosticsServiceService,
  ExportServiceService,
  ImportPolicy,
  ModelServiceService,
  OrchestratorServiceService,
  ReferenceServiceService,
  RunState,
  TrainingServiceService,
  type CreateRunRequest,
  type Run,
  type RunSpec,
  type WatchRunResponse,
} from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { digestOf } from '@pairwise/fingerprint';
import { type ClientOptions, openClient } from '@pairwise/rpc';
import { startPlatform, type Platform } from 'pairwise/up/platform';

export type TestPlatform = Awaited<ReturnType<typeof startTestPlatform>>;

/** A folder that is removed when the returned function is called. */
export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-e2e-'));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Clients of every service; `at` says how each is reached. */
export function clientsOf(at: (service: ServiceName) => ClientOptions) {
  return {
    dataset: openClient(DatasetServiceService, at('dataset')),
    model: openClient(ModelServiceService, at('dataset')),
    reference: openClient(ReferenceServiceService, at('reference')),
    training: openClient(TrainingServiceService, at('training')),
    export: openClient(ExportServiceService, at('export')),
    orchestrator: openClient(OrchestratorServiceService, at('orchestrator')),
    diagnostics: openClient(DiagnosticsServiceService, at('orchestrator')),
  };
}

export type ServiceName = 'dataset' | 'reference' | 'training' | 'export' | 'orchestrator';
export type Clients = ReturnType<typeof clientsOf>;

const parent = 'projects/default';

/** What tests do with a platform, wherever it runs. */
export function userOf({ dataset, orchestrator }: Pick<Clients, 'dataset' | 'orchestrator'>) {
  return {
    /** Uploads a file of pairs as a new dataset and seals it; returns the version's name. */
    async importDataset(id: string, file: Buffer, policy: ImportPolicy = ImportPolicy.STRICT): Promise<string> {
      await dataset.createDataset({ parent, datasetId: id, requestId: randomUUID(), validateOnly: false });
      const name = `${parent}/datasets/${id}`;
      async function* upload() {
        const header = { parent: name, importId: 'file', offsetBytes: 0n, policy };
        yield { payload: { $case: 'header' as const, value: header } };
        for (let at = 0; at < file.length; at += 65_536) {
          yield { payload: { $case: 'chunk' as const, value: file.subarray(at, at + 65_536) } };
        }
        yield await Promise.resolve({ payload: { $case: 'finish' as const, value: { digest: digestOf(file) } } });
      }
      await dataset.importPairs(upload());
      const { version } = await dataset.sealVersion({ parent: name, requestId: randomUUID() });
      return version!.name;
    },
    async createRun(runId: string, spec: RunSpec): Promise<Run> {
      const request: CreateRunRequest = { parent, runId, spec, requestId: randomUUID(), validateOnly: false };
      return (await orchestrator.createRun(request)).run!;
    },
    /** Follows a run to its end over any number of broken streams; `seen` gets every message. */
    async untilEnded(
      name: string,
      seen: (message: WatchRunResponse) => void | Promise<void> = () => undefined,
    ): Promise<Run> {
      let resumeToken = '';
      for (;;) {
        try {
          for await (const message of orchestrator.watchRun({ name, resumeToken })) {
            ({ resumeToken } = message);
            await seen(message);
          }
          const { run } = await orchestrator.getRun({ name });
          if (([RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED] as RunState[]).includes(run!.state))
            return run!;
        } catch (error) {
          if (!(error instanceof PairwiseError) || error.reason !== 'UNAVAILABLE') throw error;
        }
      }
    },
  };
}

/** The whole platform in a folder, with clients, and what tests do with them. `start` is another build's. */
export async function startTestPlatform(
  folder: string,
  environment: Record<string, string> = {},
  modelRoots: readonly string[] = [],
  start: typeof startPlatform = startPlatform,
) {
  const log: string[] = [];
  const platform: Platform = await start({
    dataFolder: join(folder, 'data'),
    address: '127.0.0.1:0',
    modelRoots: [folder, ...modelRoots],
    environment: { ...process.env, ...environment },
    log: (line) => log.push(JSON.stringify(line)),
  });
  const clients = clientsOf(() => ({ address: platform.address }));
  return {
    ...clients,
    ...userOf(clients),
    platform,
    log,
    async stop() {
      for (const client of Object.values(clients)) client.close();
      await platform.stop();
    },
  };
}
