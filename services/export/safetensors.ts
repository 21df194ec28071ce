import type { StoredType } from './storage.ts';
import { storedBytes } from './storage.ts';

/** A tensor to write; `data` is asked for once, when its turn has come. */
export interface StreamedTensor {
  name: string;
  type: StoredType;
  shape: readonly number[];
  data: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A safetensors file as a stream of bytes, in the given order, for models that are larger than the memory. */
export async function* safetensorsStream(tensors: readonly StreamedTensor[]): AsyncGenerator<Uint8Array> {
  let end = 0;
  const entries = tensors.map(({ name, type, shape }): [string, object] => {
    const start = end;
    end += shape.reduce((product, dim) => product * dim, storedBytes[type]);
    return [name, { dtype: type, shape, data_offsets: [start, end] }];
  });
  // transformers and peft refuse files that do not say which framework's layout they have.
  const header = JSON.stringify({ __metadata__: { format: 'pt' }, ...Object.fromEntries(entries) });
  const text = new TextEncoder().encode(header);
  const padded = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(text, 8);
  yield padded;
  for (const { data } of tensors) yield* data();
}
