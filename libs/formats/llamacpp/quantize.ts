import { rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import { fileTypes, tensorTypes } from '@pairwise/gguf';
import type { GgufHeader, TensorType } from '@pairwise/gguf';
import { headerOf } from './header.ts';
import { startLlama, withComplaint } from './process.ts';

/** The types that llama.cpp makes from F32, F16 and BF16 files. */
export const quantizedTypes = ['Q8_0', 'Q4_K_M'] as const;

export type QuantizedType = (typeof quantizedTypes)[number];

/** What a quantised file holds. */
export interface Quantization {
  /** How many tensors are stored in each type. */
  tensorTypes: Partial<Record<TensorType, number>>;
  /** Matrices whose rows do not fit the type's blocks and which llama.cpp stored in another type. */
  fallbacks: { name: string; rowWeights: number; type: TensorType }[];
}

/**
 * Quantises a GGUF file with llama.cpp's own quantiser, in a process of its own; the output is written under its name,
 * so give it a temporary one. `threads` defaults to 1. An aborted `signal` ends the work and removes the output.
 * Throws `INVALID_FILE` where llama.cpp refuses the input, `DISK_FULL`, `CANCELLED`.
 */
export async function quantizeGguf(options: {
  input: string;
  output: string;
  type: QuantizedType;
  threads?: number;
  signal?: AbortSignal;
}): Promise<Quantization> {
  const { input, output, type, threads = 1, signal } = options;
  const llama = await startLlama();
  const cancel = () => void llama.end();
  signal?.addEventListener('abort', cancel);
  try {
    if (signal?.aborted) throw new Error('aborted');
    await llama.request('quantize', { input, output, fileType: fileTypes[type], threads }, 'INVALID_FILE');
    return summaryOf(await headerOf(output), type);
  } catch (cause) {
    const complaint = await llama.end();
    const isFull = await hasNoRoom(dirname(output));
    await rm(output, { force: true });
    if (signal?.aborted) throw new PairwiseError('CANCELLED', 'quantising was cancelled', { cause });
    if (isFull) throw new PairwiseError('DISK_FULL', `no room for ${output}`, { cause });
    throw withComplaint(cause, complaint);
  } finally {
    signal?.removeEventListener('abort', cancel);
    await llama.end();
  }
}

function summaryOf(header: GgufHeader, type: QuantizedType): Quantization {
  const blockWeights = type === 'Q8_0' ? tensorTypes.Q8_0.blockWeights : tensorTypes.Q4_K.blockWeights;
  const counts: Partial<Record<TensorType, number>> = {};
  for (const tensor of header.tensors) counts[tensor.type] = (counts[tensor.type] ?? 0) + 1;
  const fallbacks = header.tensors
    .filter(({ dims }) => dims.length > 1 && dims[0]! % BigInt(blockWeights) !== 0n)
    .map((tensor) => ({ name: tensor.name, rowWeights: Number(tensor.dims[0]), type: tensor.type }));
  return { tensorTypes: counts, fallbacks };
}

/** Whether a disk is full, as far as a file of megabytes is concerned. llama.cpp only says that writing failed. */
async function hasNoRoom(folder: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize < 2 ** 20;
}
