import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { InferenceSession } from 'onnxruntime-node';
import { encodeModel } from '@pairwise/onnx';
import type { Graph } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';
import type { Reply, Request, ThreadData } from './protocol.ts';
import type { Device } from './devices.ts';
import type { Tensor } from './tensors.ts';
import { executionProvider } from './devices.ts';
import { checkFeeds } from './tensors.ts';
import { endsLast } from './order.ts';
import { placeWeights } from './weights.ts';

export interface SessionSpec {
  readonly graph: Graph;
  /** The folder that the locations of the graph's external data are relative to, default the working directory. */
  readonly folder?: string;
  /** Default `cpu`. */
  readonly device?: Device;
  /** Threads of the processor, default one per core that this process may use. */
  readonly threads?: number;
  /**
   * Whether to keep a rearranged copy of the weights, default false: steps about 5 % faster, but opening takes seconds
   * longer and the weights no longer stay in the mapped file.
   */
  readonly prepack?: boolean;
}

export interface RunOptions {
  /** Names of the results to compute, default all. */
  readonly fetch?: readonly string[];
  /** Tensors of the exact types and shapes, on shared memory, that results are written to instead of new ones. */
  readonly into?: Readonly<Record<string, Tensor>>;
}

/** A compiled graph in a thread of its own. */
export interface Session {
  /**
   * Runs the graph once. Calls queue up in order. There is no way to stop one: cancel between runs.
   * Feeds on shared memory must not change before the results are there.
   * Errors: `INVALID_ARGUMENT` and `WRONG_SHAPE` for feeds, `OUT_OF_MEMORY`, `WRONG_STATE` once closed, `INTERNAL`.
   */
  run(feeds: Readonly<Record<string, Tensor>>, options?: RunOptions): Promise<Readonly<Record<string, Tensor>>>;
  /** Waits for the runs that were asked for, frees the memory and ends the thread. */
  close(): Promise<void>;
}

/**
 * Compiles a graph. The same feeds give the same bits in every run, with any number of threads.
 * A process must not exit while a run is under way (the runtime then aborts it): close sessions first.
 * Errors: `INVALID_FILE` for weights that are not there, `UNAVAILABLE` for a device that is not, `OUT_OF_MEMORY`,
 * `INTERNAL` for a graph that the runtime refuses.
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
    // Patterns of memory use nearly double the memory from the second run on and gain no speed.
    enableMemPattern: false,
    // The runtime's own pool of memory is as fast, but with varying shapes it comes to hold a third more than is in use.
    enableCpuMemArena: false,
    // Errors are thrown as well; the log would repeat them on stderr.
    logSeverityLevel: 4,
    ...(copies.length > 0 && { externalData: [...copies] }),
    extra: {
      session: {
        disable_prepacking: prepack ? '0' : '1',
        // Threads that wait by spinning take a third more processor time, and other processes' time where cores are shared.
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
  throw new PairwiseError('UNAVAILABLE', `no session can be opened on ${device}: ${reply.problem}`, { cause });
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
  worker.on('error', (cause) => end(new PairwiseError('INTERNAL', 'the thread of a session broke down', { cause })));
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
