/**
 * The thread of one session. Each session has its own because the runtime's `run` blocks the JavaScript thread from
 * start to end.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { Reply, Request, ThreadData } from './protocol.ts';
import type { Tensor } from './tensors.ts';

const port = parentPort!;
const { model, options } = workerData as ThreadData;

function reply(message: Reply, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

/**
 * Returns a plain object, because the constructor of the runtime's tensors refuses float16 if Node has Float16Array.
 */
function feedOf({ dtype, dims, data }: Tensor): OrtTensor {
  return { type: dtype, dims, data, location: 'cpu' } as unknown as OrtTensor;
}

function tensorOf({ type, dims, data }: OrtTensor): Tensor {
  const array = data as Tensor['data'];
  const bits = type === 'float16' ? new Uint16Array(array.buffer, array.byteOffset, array.length) : array;
  return { dtype: type as Tensor['dtype'], dims: [...dims], data: bits };
}

async function run(session: InferenceSession, request: Request & { kind: 'run' }): Promise<void> {
  const { id, feeds, fetch, into } = request;
  const given = Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, feedOf(tensor)]));
  const wanted: Record<string, OrtTensor | null> = {};
  for (const name of fetch) {
    const target = into[name];
    // A result that is written in place must be a real tensor object, because the binding reads its native buffer.
    wanted[name] = target ? new OrtTensor(target.dtype, target.data as Float32Array, target.dims) : null;
  }
  const values = await session.run(given, wanted);
  const results = Object.fromEntries(fetch.map((name) => [name, into[name] ?? tensorOf(values[name] as OrtTensor)]));
  const buffers = Object.values(results).map(({ data }) => data.buffer);
  reply(
    { kind: 'result', id, results },
    [...new Set(buffers)].filter((buffer) => buffer instanceof ArrayBuffer),
  );
}

function problemOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function serve(): Promise<void> {
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(model, options);
  } catch (error) {
    reply({ kind: 'refused', problem: problemOf(error) });
    return;
  }
  let last = Promise.resolve();
  port.on('message', (request: Request) => {
    last = last.then(async () => {
      if (request.kind === 'close') {
        await session.release();
        port.close();
      } else {
        await run(session, request).catch((error: unknown) =>
          reply({ kind: 'failed', id: request.id, problem: problemOf(error) }),
        );
      }
    });
  });
  reply({ kind: 'open' });
}

await serve();
