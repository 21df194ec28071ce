import { PairwiseError } from '@pairwise/errors';
import { type LoraLayer } from '@pairwise/model';
import { readMetadata, readSafetensors, writeSafetensors, type TensorData } from '@pairwise/safetensors';
import type { OptimizerState } from './optimizer.ts';

const format = 'pairwise-checkpoint-1';
const lists = ['parameters', 'firstMoments', 'secondMoments'] as const;

/**
 * Encodes a checkpoint as safetensors: the flat vectors `parameters.<layer>`, `firstMoments.<layer>` and
 * `secondMoments.<layer>` of each layer, with the format and the step as metadata. Step and seed give the position in the data.
 */
export function packState(state: OptimizerState): Uint8Array {
  const tensors = lists.flatMap((list) =>
    state[list].map((data, index): TensorData => ({
      name: `${list}.${index}`,
      dtype: 'F32',
      shape: [data.length],
      data,
    })),
  );
  return writeSafetensors(tensors, { format, step: String(state.step) });
}

/** Decodes a checkpoint. Throws INVALID_FILE, and WRONG_SHAPE if it belongs to another adapter or model. */
export function unpackState(bytes: Uint8Array, layout: readonly LoraLayer[]): OptimizerState {
  const metadata = readMetadata(bytes, 'the checkpoint');
  const step = Number(metadata['step']);
  if (metadata['format'] !== format || !/^\d+$/.test(metadata['step'] ?? '') || !Number.isSafeInteger(step)) {
    throw new PairwiseError('INVALID_FILE', `the checkpoint does not have the format ${format}`);
  }
  const tensors = readSafetensors(bytes, 'the checkpoint');
  if (tensors.size !== lists.length * layout.length) {
    const message = `the checkpoint has ${tensors.size} vectors; the model and its adapter have ${lists.length * layout.length}`;
    throw new PairwiseError('WRONG_SHAPE', message);
  }
  const vector = (list: string, index: number, size: number): Float32Array => {
    const data = tensors.get(`${list}.${index}`)?.data;
    if (data instanceof Float32Array && data.length === size) return shared(data);
    throw new PairwiseError('WRONG_SHAPE', `the checkpoint's ${list}.${index} does not fit the model and its adapter`);
  };
  const read = (list: (typeof lists)[number]) => layout.map(({ size }, index) => vector(list, index, size));
  return {
    step,
    parameters: read('parameters'),
    firstMoments: read('firstMoments'),
    secondMoments: read('secondMoments'),
  };
}

/** A copy on shared memory, which is fed without another copy for each micro-batch. */
function shared(data: Float32Array): Float32Array {
  const copy = new Float32Array(new SharedArrayBuffer(data.byteLength));
  copy.set(data);
  return copy;
}

/** The adapter as PEFT's tensors, sorted by name. */
export function adapterTensors(layout: readonly LoraLayer[], parameters: readonly Float32Array[]): TensorData[] {
  const tensors = layout.flatMap(({ entries }, layer) =>
    entries.map(({ name, shape, offset }): TensorData => {
      const data = parameters[layer]!.subarray(offset, offset + shape[0] * shape[1]);
      return { name, dtype: 'F32', shape, data };
    }),
  );
  return tensors.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Reads an adapter's flat vectors from PEFT's tensors. Throws MISSING_TENSOR and WRONG_SHAPE. */
export function adapterParameters(
  layout: readonly LoraLayer[],
  tensors: ReadonlyMap<string, { shape: readonly number[]; data: unknown }>,
): Float32Array[] {
  return layout.map(({ size, entries }) => {
    const flat = new Float32Array(new SharedArrayBuffer(size * 4));
    for (const { name, shape, offset } of entries) {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw new PairwiseError('MISSING_TENSOR', `the adapter does not contain ${name}`);
      if (tensor.shape.join() !== shape.join() || !(tensor.data instanceof Float32Array)) {
        throw new PairwiseError(
          'WRONG_SHAPE',
          `the adapter's ${name} is not a float32 tensor of [${shape.join(', ')}]`,
        );
      }
      flat.set(tensor.data, offset);
    }
    return flat;
  });
}
