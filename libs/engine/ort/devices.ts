import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
// This import also loads the native library in the main thread. If only threads loaded it, it would be unloaded with them.
import { env } from 'onnxruntime-node';
import { PairwiseError } from '@pairwise/errors';
import type { Dtype } from '@pairwise/onnx';

/** The device that runs a graph: the CPU, a CUDA device by number, or the machine's WebGPU device. */
export type Device = 'cpu' | 'webgpu' | `cuda:${number}`;

/** Parses `cpu`, `webgpu`, `cuda` (the first device) or `cuda:<n>`. Throws `INVALID_ARGUMENT`. */
export function parseDevice(text: string): Device {
  if (text === 'cpu' || text === 'webgpu') return text;
  const match = /^cuda(?::(\d+))?$/.exec(text);
  if (match) return `cuda:${Number(match[1] ?? 0)}`;
  throw new PairwiseError('INVALID_ARGUMENT', `the device is ${text}; it must be cpu, cuda, cuda:<n> or webgpu`);
}

/** The runtime's execution provider for a device. */
export function executionProvider(device: Device): { name: string; deviceId?: number } {
  return device.startsWith('cuda:') ? { name: 'cuda', deviceId: Number(device.slice(5)) } : { name: device };
}

/**
 * The memory that work on a device can use, in bytes: for `cpu` that of the machine, or the limit of this process if that is
 * lower. Undefined for other devices, whose memory the runtime does not report.
 */
export function deviceMemoryBytes(device: Device): number | undefined {
  if (device !== 'cpu') return undefined;
  const limit = process.constrainedMemory();
  // Without a limit this is 0, or more than the machine has.
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/**
 * Names everything outside a graph that may change the last bits of its results, for fingerprints: the kind of device, the
 * processor's architecture and vector instructions, the runtime's version and the dtype of the arithmetic. The number of
 * threads does not change results (session.spec.ts), so it is not included.
 */
export function numericsProfile(device: Device, compute: Dtype = 'float32'): string {
  const kind = device.split(':')[0]!;
  const processor = kind === 'cpu' ? [process.arch, ...vectorInstructions()].join('-') : 'any';
  return [kind, processor, `onnxruntime-${env.versions.node ?? 'unknown'}`, compute].join('/');
}

/** The dtype of the arithmetic of a numerics profile. */
export function computeDtype(numericsProfile: string): string {
  return numericsProfile.split('/').at(-1)!;
}

/** The vector instructions for which the runtime has matrix products of their own, as Linux reports them. */
function vectorInstructions(): string[] {
  if (process.arch !== 'x64' || process.platform !== 'linux') return [];
  const [, flags = ''] = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? [];
  const known = ['avx512f', 'avx2', 'avx'].find((name) => flags.split(' ').includes(name));
  return known === undefined ? [] : [known];
}
