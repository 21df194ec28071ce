import { join } from 'node:path';
import { interleaveHeads, llamaAdapterMetadata, llamaTensors, writeGguf } from '@pairwise/gguf';
import type { TensorToWrite } from '@pairwise/gguf';
import { loraLayout, loraScale } from '@pairwise/model';
import type { ModelConfig } from '@pairwise/model';
import { adapterTensors } from '@pairwise/training';
import { writeFileFrom } from './files.ts';
import { encodeFinite } from './storage.ts';
import type { Adapter } from './weights.ts';

/**
 * Writes `<baseName>-adapter.gguf`, an adapter in float32 as llama.cpp and Ollama load it over a GGUF file of the base model.
 * Returns the names of the files. Throws DISK_FULL, NON_FINITE.
 */
export async function writeGgufAdapterArtifact(
  folder: string,
  model: { config: ModelConfig; adapter: Adapter },
  { baseName }: { baseName: string },
): Promise<string[]> {
  const { lora, parameters } = model.adapter;
  const factors = new Map(
    adapterTensors(loraLayout(model.config, lora), parameters).map((tensor) => [tensor.name, tensor]),
  );
  const tensors = llamaTensors(model.config).flatMap(({ name, source, interleavedHeads: heads }) => {
    const prefix = `base_model.model.${source.replace(/\.weight$/, '')}`;
    const [a, b] = [factors.get(`${prefix}.lora_A.weight`), factors.get(`${prefix}.lora_B.weight`)];
    if (!a || !b) return [];
    const written = (factor: typeof a, suffix: string, reorder: (bytes: Uint8Array) => Uint8Array): TensorToWrite => ({
      name: `${name}.${suffix}`,
      dims: factor.shape.toReversed(),
      type: 'F32',
      data: () => Promise.resolve(reorder(encodeFinite(name, factor.data as Float32Array, 'F32'))),
    });
    // The rows of B are those of the weight, which llama.cpp has in another order.
    const reordered = (bytes: Uint8Array) => (heads === undefined ? bytes : interleaveHeads(bytes, b.shape[0]!, heads));
    return [written(a, 'lora_a', (bytes) => bytes), written(b, 'lora_b', reordered)];
  });
  // llama.cpp divides by the rank, so this is loraAlpha unless the scale is rank-stabilised.
  const metadata = llamaAdapterMetadata({ name: baseName, alpha: loraScale(lora) * lora.r });
  const fileName = `${baseName}-adapter.gguf`;
  await writeFileFrom(join(folder, fileName), writeGguf({ metadata, tensors }));
  return [fileName];
}
