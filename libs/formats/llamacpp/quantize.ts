import { rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import { fileTypes, tensorTypes } from '@pairwise/gguf';
import type { GgufHeader, QuantizedType, TensorType } from '@pairwise/gguf';
import { headerOf } from './header.ts';
import { startLlama, withComplaint } from './process.ts';
import type { Importance } from './requests.ts';

/** The tensors of a quantised file. */
export interface Quantization {
  /** The number of tensors of each type. */
  tensorTypes: Partial<Record<TensorType, number>>;
  /** Matrices that llama.cpp stored in another type, because their rows are not a whole number of blocks. */
  fallbacks: { name: string; rowWeights: number; type: TensorType }[];
}

/**
 * Quantises a GGUF file with llama.cpp's quantiser, in a process of its own. `output` exists while it is incomplete, so give
 * it a temporary name; on an error it is removed. `importance` makes the weights that matter most more precise; by default
 * all weights of a tensor count the same. `threads` defaults to 1. `signal` cancels the work.
 * Throws `INVALID_FILE` if llama.cpp refuses the input, `DISK_FULL`, `CANCELLED`, `UNAVAILABLE` and `INTERNAL`.
 */
export async function quantizeGguf(options: {
  input: string;
  output: string;
  type: QuantizedType;
  importance?: Importance;
  threads?: number;
  signal?: AbortSignal;
}): Promise<Quantization> {
  const { input, output, type, importance = new Map(), threads = 1, signal } = options;
  const llama = await startLlama();
  const cancel = () => void llama.end();
  signal?.addEventListener('abort', cancel);
  try {
    if (signal?.aborted) throw new Error('aborted');
    const fileType = fileTypes[type].id;
    await llama.request('quantize', { input, output, fileType, threads, importance }, 'INVALID_FILE');
    return summaryOf(await headerOf(output), type);
  } catch (cause) {
    const complaint = await llama.end();
    const isFull = await isDiskFull(dirname(output));
    await rm(output, { force: true });
    if (signal?.aborted) throw new PairwiseError('CANCELLED', 'quantising was cancelled', { cause });
    if (isFull) throw new PairwiseError('DISK_FULL', `the disk is full; ${output} could not be written`, { cause });
    throw withComplaint(cause, complaint);
  } finally {
    signal?.removeEventListener('abort', cancel);
    await llama.end();
  }
}

function summaryOf(header: GgufHeader, type: QuantizedType): Quantization {
  const { blockWeights } = tensorTypes[fileTypes[type].matrices];
  const counts: Partial<Record<TensorType, number>> = {};
  for (const tensor of header.tensors) counts[tensor.type] = (counts[tensor.type] ?? 0) + 1;
  const fallbacks = header.tensors
    .filter(({ dims }) => dims.length > 1 && dims[0]! % BigInt(blockWeights) !== 0n)
    .map((tensor) => ({ name: tensor.name, rowWeights: Number(tensor.dims[0]), type: tensor.type }));
  return { tensorTypes: counts, fallbacks };
}

/** Whether a disk has less than 1 MiB left. llama.cpp itself only says that writing failed. */
async function isDiskFull(folder: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize < 2 ** 20;
}
