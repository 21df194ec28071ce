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
import type { Services } from 'pairwise/connection';
import { startPlatform, type Platform } from 'pairwise/up/platform';

export type ServiceName = 'dataset' | 'reference' | 'training' | 'export' | 'orchestrator';

/** A client for each service. */
export type Clients = Omit<Services, 'close'>;

/** What tests do with a platform, wherever it runs. */
export interface PlatformUser {
  /** Uploads a file of pairs as a new dataset and seals it. Returns the version's name. Default policy: strict. */
  importDataset(id: string, file: Buffer, policy?: ImportPolicy): Promise<string>;
  createRun(runId: string, spec: RunSpec): Promise<Run>;
  /** Watches a run until it ends, across any number of broken streams. `seen` receives every message. */
  untilEnded(name: string, seen?: (message: WatchRunResponse) => void | Promise<void>): Promise<Run>;
}

export interface TestPlatform extends Clients, PlatformUser {
  platform: Platform;
  /** Every event so far, as JSON. */
  log: string[];
  stop(): Promise<void>;
}

/** A folder that is removed when the returned function is called. */
export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-e2e-'));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Opens a client for each service; `at` returns how to reach it. */
export function clientsOf(at: (service: ServiceName) => ClientOptions): Clients {
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

const parent = 'projects/default';

export function userOf({ dataset, orchestrator }: Pick<Clients, 'dataset' | 'orchestrator'>): PlatformUser {
  return {
    async importDataset(id, file, policy = ImportPolicy.STRICT) {
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
    async createRun(runId, spec) {
      const request: CreateRunRequest = { parent, runId, spec, requestId: randomUUID(), validateOnly: false };
      return (await orchestrator.createRun(request)).run!;
    },
    async untilEnded(name, seen = () => undefined) {
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

/** Starts the whole platform in a folder, and opens clients to it. `start` may be that of another build. */
export async function startTestPlatform(
  folder: string,
  environment: Record<string, string> = {},
  modelRoots: readonly string[] = [],
  start: typeof startPlatform = startPlatform,
): Promise<TestPlatform> {
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
