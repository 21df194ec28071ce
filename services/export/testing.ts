import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Checkpoint,
  Encoding,
  ExportServiceService,
  Model,
  type FileInfo,
  type StartExportRequest,
  Training,
} from '@pairwise/api';
import { migrate, openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { digestOf } from '@pairwise/fingerprint';
import { writeGguf, type GgufValue, type TensorToWrite } from '@pairwise/gguf';
import { headerOf } from '@pairwise/llamacpp';
import { paddedModel } from '@pairwise/llamacpp/testing';
import { expectedTensors, loraLayout, readBaseModel, targetModules } from '@pairwise/model';
import { openClient, startServer, type Client } from '@pairwise/rpc';
import { packPairs, type EncodedPair } from '@pairwise/preference';
import { openFolder, type BlobStore } from '@pairwise/store';
import { readSafetensors, type ModelFolder } from '@pairwise/safetensors';
import type { BaseModel, LoraSettings } from '@pairwise/model';
import { adapterParameters, packState } from '@pairwise/training';
import { afterAll } from 'vitest';
import { sharedFolder, writeTinyModel } from '@pairwise/testing';
import { openExports } from './exports.ts';
import type { GgufModel } from './gguf.ts';
import { migrations } from './migrations.ts';
import type { Peers } from './peers.ts';
import { openPushes } from './pushes.ts';
import { runExport, type ExporterDeps } from './run.ts';
import { runPush, type PusherDeps } from './runPush.ts';
import { exportService } from './service.ts';
import type { PushAccess } from './startPush.ts';
import { baseWeights } from './weights.ts';
import type { Adapter, ExportWeights } from './weights.ts';
import { exportWork, exportWorkId, pushWork } from './work.ts';

/** The folder with reference material; undefined if this machine does not have it. */
export const shared = sharedFolder();

const folder = mkdtempSync(join(tmpdir(), 'pairwise-export-'));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;
/** Creates an empty folder that is removed after the tests of the file. */
export function freshFolder(): string {
  const path = join(folder, String(count++));
  mkdirSync(path);
  return path;
}

export async function modelFolder(path: string): Promise<ModelFolder> {
  const names = await readdir(path);
  const files = names.map(async (name) => ({ path: name, sizeBytes: (await stat(join(path, name))).size }));
  return {
    files: await Promise.all(files),
    read: async (name, start, end) => (await readFile(join(path, name))).subarray(start, end),
  };
}

export interface Stories {
  /** Path of the base model's folder. */
  source: string;
  base: ModelFolder;
  baseModel: BaseModel;
  weights: ExportWeights;
  /** An adapter that was trained on the base model. */
  adapter: Adapter;
}

/** Opens the model stories260K and an adapter from the reference material. */
export async function openStories(): Promise<Stories> {
  const source = join(shared!, 'models/stories260K-eos1');
  const base = await modelFolder(source);
  const baseModel = await readBaseModel(base);
  const lora: LoraSettings = {
    r: 8,
    loraAlpha: 16,
    targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
    useRslora: false,
  };
  const file = await readFile(join(shared!, 'goldens/adapter_a_final/adapter_model.safetensors'));
  const parameters = adapterParameters(loraLayout(baseModel.config, lora), readSafetensors(file));
  const weights = baseWeights(baseModel, (...range) => base.read(...range));
  return { source, base, baseModel, weights, adapter: { lora, parameters } };
}

/** A model whose rows have 256 weights or a multiple, as llama.cpp's K types need, and whose logps are those of `model`. */
export async function padded(model: GgufModel): Promise<GgufModel> {
  const whole = new Map<string, Float32Array>();
  for (const [name, [count = 0]] of expectedTensors(model.config))
    whole.set(name, await model.weights.rows(name, 0, count));
  const { config, weights } = paddedModel({ ...model, tokenizer: new Map(), weights: (name) => whole.get(name)! });
  const widths = new Map([...expectedTensors(config)].map(([name, [, width = 1]]) => [name, width]));
  const rows: ExportWeights['rows'] = (name, first, count) => {
    const width = widths.get(name)!;
    return Promise.resolve(weights(name).slice(first * width, (first + count) * width));
  };
  return { ...model, config, weights: { storedType: () => 'F32', rows } };
}

export const testProject = 'projects/default';

/** The service for specs, on a real Postgres and a real socket. It knows a model `tiny` and an encoding `pairs`. */
export interface TestExportService {
  client: Client<typeof ExportServiceService>;
  deps: ExporterDeps & PusherDeps;
  /** The resources of the other services by name. */
  resources: Map<string, unknown>;
  /** Called before each attempt of an export. */
  beforeAttempt: (() => Promise<unknown>) | undefined;
  /** If set, this is called instead of answering a request for a model. */
  insteadOfModel: (() => void) | undefined;
  /** Its database and its blobs, for another process of the service to take over. */
  place: TestPlace;
  stop(): Promise<void>;
}

interface TestPlace {
  root: string;
  /** Of the database. */
  url: string;
}

/** `hub` is where it may push to; default: nowhere. */
export async function startTestExportService(
  hub: PushAccess = { endpoint: 'https://hub.invalid', namespaces: [] },
  place?: TestPlace,
): Promise<TestExportService> {
  const { root, url } = place ?? { root: freshFolder(), url: (await testDatabase()).url };
  const blobs = await openFolder(join(root, 'blobs'));
  const database = openDatabase({ url, schema: 'export' });
  await migrate(database, migrations);
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: console.error };
  const durable = await startDurable({ url, schema: 'export', log });
  const exports = openExports(database);
  const hooks: Pick<TestExportService, 'beforeAttempt' | 'insteadOfModel'> = {
    beforeAttempt: undefined,
    insteadOfModel: undefined,
  };
  writeTinyModel(join(root, 'model'));
  const tiny = {
    name: `${testProject}/models/tiny`,
    files: await storeModel(blobs, join(root, 'model')),
    dtype: 'F32',
  };
  const resources = new Map<string, unknown>([
    [tiny.name, Model.create(tiny)],
    [`${testProject}/encodings/pairs`, Encoding.create({})],
  ]);
  const peers = peersOf(hooks, resources);
  const scratch = join(root, 'scratch');
  const pushes = openPushes(database);
  const deps = { blobs, exports, pushes, hub, peers, scratch, threads: 1 };
  durable.execute(exportWork, async ({ export: name }, attempt) => {
    await hooks.beforeAttempt?.();
    await runExport(deps, name, attempt);
  });
  durable.execute(pushWork, ({ push }, attempt) => runPush(deps, push, attempt));
  await durable.launch({ [exportWork.queue]: 1, [pushWork.queue]: 1 });
  const service = exportService({
    database,
    blobs,
    exports,
    pushes,
    hub,
    peers,
    enqueue: ({ export: { name }, attempt }) =>
      durable.enqueue(exportWork, exportWorkId(name, attempt), { export: name }),
    cancel: ({ export: { name }, attempt }, tx) => durable.cancel(exportWorkId(name, attempt), tx),
    enqueuePush: (name, tx) => durable.enqueue(pushWork, name, { push: name }, tx),
    cancelPush: (name, tx) => durable.cancel(name, tx),
  });
  const server = await startServer({ address: '127.0.0.1:0', log, services: [service] });
  const client = openClient(ExportServiceService, server);
  const stop = async () => {
    client.close();
    await server.drain();
    await durable.stop();
    await database.close();
  };
  return Object.assign(hooks, { client, deps, resources, place: { root, url }, stop });
}

async function storeModel(blobs: BlobStore, path: string): Promise<FileInfo[]> {
  const files: FileInfo[] = [];
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const { name } = entry;
    const { digest, sizeBytes } = await blobs.put(readFileSync(join(path, name)));
    files.push({ path: name, digest, sizeBytes: BigInt(sizeBytes) });
  }
  return files;
}

/** Adds what `addTrained` adds for stories260K and the adapter of the reference material. */
export async function addStories(service: TestExportService): Promise<TrainedSource> {
  const { source, adapter } = await openStories();
  const text = await readFile(join(shared!, 'goldens/ids_first64.json'), 'utf8');
  type Golden = Record<'prompt_ids' | 'chosen_ids' | 'rejected_ids', number[]>;
  const pairs = (JSON.parse(text) as { pairs: Golden[] }).pairs
    .slice(0, 8)
    .map((pair) => encodedPair(pair.prompt_ids, pair.chosen_ids, pair.rejected_ids));
  return addTrained(service, 'stories', { folder: source, adapter, pairs });
}

/** The fields of a request that exports a checkpoint. */
export type TrainedSource = Pick<StartExportRequest, 'parent' | 'source' | 'encoding'>;

/**
 * Adds a model, a checkpoint of an adapter of it and the encoding of the pairs that it was trained on to the resources of a
 * service. Returns what a request to export the checkpoint names.
 */
export async function addTrained(
  { deps: { blobs }, resources }: TestExportService,
  id: string,
  { folder, adapter, pairs }: { folder: string; adapter: Adapter; pairs: readonly EncodedPair[] },
): Promise<TrainedSource> {
  const model = { name: `${testProject}/models/${id}`, files: await storeModel(blobs, folder), dtype: 'F32' };
  const zeros = adapter.parameters.map(({ length }) => new Float32Array(length));
  const parameters = [...adapter.parameters];
  const state = await blobs.put(packState({ step: 1, parameters, firstMoments: zeros, secondMoments: zeros }));
  const shard = await blobs.put(packPairs(pairs));
  const { r, loraAlpha, targetModules, useRslora } = adapter.lora;
  const encoding = { name: `${testProject}/encodings/${id}`, shardDigests: [shard.digest], pairCount: pairs.length };
  const training = { name: `${testProject}/trainings/${id}`, stepCount: 1, resolvedSpec: {} };
  const checkpoint = {
    name: `${training.name}/checkpoints/checkpoint-1`,
    step: 1,
    digest: state.digest,
    model: model.name,
    lora: { r, loraAlpha, targetModules: [...targetModules], useRslora },
    encoding: encoding.name,
  };
  resources.set(model.name, Model.create(model));
  resources.set(encoding.name, Encoding.create({ ...encoding, chatTemplateDate: '2024-07-26' }));
  resources.set(training.name, Training.fromPartial(training));
  resources.set(checkpoint.name, Checkpoint.fromPartial(checkpoint));
  return {
    parent: testProject,
    source: { $case: 'checkpoint', value: checkpoint.name },
    encoding: encoding.name,
  };
}

/** A pair of the given ids. Its digests are not its own. */
export function encodedPair(
  prompt: ArrayLike<number>,
  chosen: ArrayLike<number>,
  rejected: ArrayLike<number>,
): EncodedPair {
  const digest = digestOf(Buffer.from('a pair'));
  return {
    prompt: Int32Array.from(prompt),
    chosen: Int32Array.from(chosen),
    rejected: Int32Array.from(rejected),
    pairDigest: digest,
    chosenDigest: digest,
    rejectedDigest: digest,
  };
}

/** The resources of the other services, which are not part of these specs. */
function peersOf(hooks: Pick<TestExportService, 'insteadOfModel'>, resources: ReadonlyMap<string, unknown>): Peers {
  const find = (name: string) => {
    const found = resources.get(name);
    if (found !== undefined) return Promise.resolve(found);
    return Promise.reject(new PairwiseError('NOT_FOUND', `name: there is no '${name}'`, { field: 'name' }));
  };
  return {
    model: {
      getModel: async ({ name }: Model, { signal }: { signal: AbortSignal }) => {
        if (hooks.insteadOfModel !== undefined) {
          hooks.insteadOfModel();
          await once(signal, 'abort');
          signal.throwIfAborted();
        }
        return { model: await find(name) };
      },
    },
    dataset: {
      getEncoding: async ({ name }: Encoding) => ({ encoding: await find(name) }),
      getDatasetVersion: async ({ name }: Encoding) => ({ version: await find(name) }),
      // eslint-disable-next-line require-yield
      async *readPairs({ name }: Encoding) {
        await find(name);
      },
    },
    training: {
      getCheckpoint: async ({ name }: Model) => ({ checkpoint: await find(name) }),
      async *watchTraining({ name }: Model) {
        yield { payload: { $case: 'training', value: await find(name) }, sequence: 0n };
      },
    },
  } as unknown as Peers;
}

/** Rewrites a GGUF file with edited metadata and tensors. `weights` gets each tensor's bytes, to change them in place. */
export async function editGguf(
  path: string,
  edit: { metadata?: Readonly<Record<string, GgufValue>>; weights?: (name: string, bytes: Buffer) => void },
): Promise<void> {
  const header = await headerOf(path);
  const whole = await readFile(path);
  const metadata = new Map([...header.metadata, ...Object.entries(edit.metadata ?? {})]);
  const tensors = header.tensors.map(({ name, dims, type, offset, sizeBytes }): TensorToWrite => {
    const bytes = whole.subarray(Number(offset), Number(offset + sizeBytes));
    edit.weights?.(name, bytes);
    return { name, dims: dims.map(Number), type, data: () => Promise.resolve(bytes) };
  });
  await writeFile(path, Buffer.concat(await Array.fromAsync(writeGguf({ metadata, tensors }))));
}

/** The folders of ../shared/archs with architectures that Pairwise trains. */
export const trainedArchs = [
  'llama3',
  'llama3-tied-bf16',
  'mistral',
  'mistral-swa16',
  'qwen2-yarn',
  'qwen2-sharded',
  'qwen3',
  'gemma2',
  'gemma3-text',
  'phi3',
  'smollm3',
  'olmo2',
  'granite',
  'qwen3-moe',
] as const;

/** For specs: an adapter of a folder of ../shared/archs, with B factors that are not zero. */
export async function archAdapter(name: string) {
  const folder = join(shared!, 'archs', name);
  const base = await modelFolder(folder);
  const baseModel = await readBaseModel(base);
  const golden = JSON.parse(await readFile(join(folder, 'dpo_golden.json'), 'utf8')) as {
    lora: { r: number; lora_alpha: number; target_modules: string[] };
    pairs: { prompt_ids: number[]; chosen_ids: number[] }[];
  };
  const lora = {
    r: golden.lora.r,
    loraAlpha: golden.lora.lora_alpha,
    targetModules: targetModules.filter((module) => golden.lora.target_modules.includes(module)),
    useRslora: false,
  };
  const file = readSafetensors(await readFile(join(folder, 'adapter_init/adapter_model.safetensors')));
  const adapter = { lora, parameters: adapterParameters(loraLayout(baseModel.config, lora), file) };
  const sequences = golden.pairs.map(({ prompt_ids, chosen_ids }) => ({
    prompt: Int32Array.from(prompt_ids),
    response: Int32Array.from(chosen_ids),
  }));
  return { folder, base, baseModel, adapter, sequences };
}
