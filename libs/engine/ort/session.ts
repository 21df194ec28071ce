import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { InferenceSession } from 'onnxruntime-node';
import { encodeModel, endsLast } from '@pairwise/onnx';
import type { Graph } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';
import type { Reply, Request, ThreadData } from './protocol.ts';
import type { Device } from './devices.ts';
import type { Tensor } from './tensors.ts';
import { executionProvider } from './devices.ts';
import { checkFeeds } from './tensors.ts';
import { placeWeights } from './weights.ts';

export interface SessionSpec {
  readonly graph: Graph;
  /** The folder that the locations of external data are relative to. @default the working directory */
  readonly folder?: string;
  /** @default 'cpu' */
  readonly device?: Device;
  /** The number of processor threads. @default one per core that this process may use */
  readonly threads?: number;
  /**
   * Whether to keep a rearranged copy of the weights: steps are about 5 % faster, but opening takes seconds longer, and the
   * weights do not stay in the mapped file. @default false
   */
  readonly prepack?: boolean;
}

export interface RunOptions {
  /** The names of the results to compute. @default all */
  readonly fetch?: readonly string[];
  /** Tensors on shared memory, of the exact types and shapes, into which results are written. */
  readonly into?: Readonly<Record<string, Tensor>>;
}

/** A compiled graph and the thread that runs it. */
export interface Session {
  /**
   * Runs the graph once. Calls wait for earlier ones. A run cannot be stopped: cancel between runs.
   * Feeds on shared memory must not change before the results have arrived.
   * Errors: `INVALID_ARGUMENT` and `WRONG_SHAPE` for feeds, `OUT_OF_MEMORY`, `WRONG_STATE` once closed, `INTERNAL`.
   */
  run(feeds: Readonly<Record<string, Tensor>>, options?: RunOptions): Promise<Readonly<Record<string, Tensor>>>;
  /** Waits for all runs, frees the memory and ends the thread. */
  close(): Promise<void>;
}

/**
 * Compiles a graph. The same feeds give the same bits in every run, with any number of threads.
 * Close all sessions before the process exits: the runtime aborts a process that exits during a run.
 * Errors: `INVALID_FILE` for missing weights, `UNAVAILABLE` for a missing device, `OUT_OF_MEMORY`, `INTERNAL` for a graph that
 * the runtime refuses.
 */
export async function openSession(spec: SessionSpec): Promise<Session> {
  const { graph, folder, copies } = await placeWeights(spec.graph, spec.folder ?? '.');
  const model = encodeModel(endsLast(graph));
  const options = sessionOptions(spec, folder, copies);
  const data: ThreadData = { model, options };
  const worker = new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: data,
    transferList: [model.buffer],
  });
  await opened(worker, spec.device ?? 'cpu');
  return sessionOn(worker, spec.graph);
}

function sessionOptions(
  { device = 'cpu', threads = availableParallelism(), prepack = false }: SessionSpec,
  folder: string | undefined,
  copies: readonly { path: string; data: Uint8Array }[],
): InferenceSession.SessionOptions {
  return {
    executionProviders: [executionProvider(device)],
    executionMode: 'sequential',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Memory patterns nearly double the memory from the second run on, without making it faster.
    enableMemPattern: false,
    // The runtime's memory pool joins free blocks. The C library's heap is left with gaps between results that outlive others:
    // training graphs then need 17 % more anonymous memory, or 74 % more if they recompute whole layers.
    enableCpuMemArena: true,
    // Errors are thrown; the log would only repeat them on standard error.
    logSeverityLevel: 4,
    ...(copies.length > 0 && { externalData: [...copies] }),
    extra: {
      session: {
        disable_prepacking: prepack ? '0' : '1',
        // Spinning threads use a third more processor time, which other processes on shared cores then lack.
        intra_op: { allow_spinning: '0' },
        ...(folder !== undefined && { model_external_initializers_file_folder_path: folder }),
      },
    },
  };
}

async function opened(worker: Worker, device: Device): Promise<void> {
  const reply = await new Promise<Reply>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () =>
      reject(new PairwiseError('INTERNAL', 'the thread of a session ended before it was open')),
    );
  });
  if (reply.kind !== 'refused') return;
  const cause = new Error(reply.problem);
  if (outOfMemory(reply.problem)) throw failure(reply.problem);
  if (device === 'cpu')
    throw new PairwiseError('INTERNAL', `the runtime refuses the graph: ${reply.problem}`, { cause });
  throw new PairwiseError('UNAVAILABLE', `cannot open a session on ${device}: ${reply.problem}`, { cause });
}

function sessionOn(worker: Worker, graph: Graph): Session {
  const pending = new Map<number, PromiseWithResolvers<Readonly<Record<string, Tensor>>>>();
  const names = graph.outputs.map(({ name }) => name);
  let runs = 0;
  let ended: PairwiseError | undefined;
  const send = (request: Request) => worker.postMessage(request);
  const exit = new Promise<void>((resolve) => worker.once('exit', () => resolve()));

  function end(error: PairwiseError): void {
    ended ??= error;
    for (const { reject } of pending.values()) reject(error);
    pending.clear();
  }
  worker.on('error', (cause) => end(new PairwiseError('INTERNAL', 'the thread of a session failed', { cause })));
  worker.on('exit', () => end(new PairwiseError('INTERNAL', 'the thread of a session ended')));
  worker.on('message', (reply: Reply) => {
    if (reply.kind !== 'result' && reply.kind !== 'failed') return;
    const call = pending.get(reply.id);
    pending.delete(reply.id);
    if (reply.kind === 'result') call?.resolve(reply.results);
    else call?.reject(failure(reply.problem));
  });

  return {
    async run(feeds, { fetch = names, into = {} } = {}) {
      if (ended) throw ended;
      checkFeeds(graph.inputs, feeds);
      const unknown = [...fetch, ...Object.keys(into)].find((name) => !names.includes(name));
      if (unknown) throw new PairwiseError('INVALID_ARGUMENT', `the graph has no output ${unknown}`);
      const call = Promise.withResolvers<Readonly<Record<string, Tensor>>>();
      const id = runs++;
      pending.set(id, call);
      send({ kind: 'run', id, feeds, fetch, into });
      return call.promise;
    },
    async close() {
      if (!ended) {
        ended = new PairwiseError('WRONG_STATE', 'the session is closed');
        send({ kind: 'close' });
      }
      await exit;
    },
  };
}

function outOfMemory(problem: string): boolean {
  return /failed to allocate memory|bad_?\s?alloc|out of memory/i.test(problem);
}

function failure(problem: string): PairwiseError {
  if (outOfMemory(problem)) {
    return new PairwiseError('OUT_OF_MEMORY', `the device has too little memory for this graph: ${problem}`);
  }
  return new PairwiseError('INTERNAL', `the runtime failed: ${problem}`);
}
