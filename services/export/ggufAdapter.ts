import { join } from 'node:path';
import { interleaveHeads, adapterMetadata, modelTensors, writeGguf } from '@pairwise/gguf';
import { loraScale } from '@pairwise/model';
import type { ModelConfig } from '@pairwise/model';
import { writeFileFrom } from './files.ts';
import { encodeFinite } from './storage.ts';
import { adapterFactors, type Adapter } from './weights.ts';

/**
 * Writes `<baseName>-adapter.gguf`, an adapter in float32 as llama.cpp and Ollama load it over a GGUF file of the base model.
 * Returns the names of the files. Throws DISK_FULL, NON_FINITE.
 */
export async function writeGgufAdapterArtifact(
  folder: string,
  model: { config: ModelConfig; adapter: Adapter },
  { baseName }: { baseName: string },
): Promise<string[]> {
  const { lora } = model.adapter;
  const factorsOf = adapterFactors(model.config, model.adapter);
  const tensors = modelTensors(model.config).flatMap(({ name, sources, shape, interleavedHeads: heads }) => {
    const factors = factorsOf(sources[0]);
    if (factors === undefined) return [];
    const [rows = 0, width = 0] = shape;
    const a = encodeFinite(name, factors.a, 'F32');
    // The rows of B are those of the weight, which llama.cpp has in another order.
    const b = encodeFinite(name, factors.b, 'F32');
    const reordered = heads === undefined ? b : interleaveHeads(b, rows, heads);
    return [
      { name: `${name}.lora_a`, dims: [width, lora.r], type: 'F32' as const, data: () => Promise.resolve(a) },
      { name: `${name}.lora_b`, dims: [lora.r, rows], type: 'F32' as const, data: () => Promise.resolve(reordered) },
    ];
  });
  // llama.cpp divides by the rank, so this is loraAlpha unless the scale is rank-stabilised.
  const metadata = adapterMetadata(model.config, { name: baseName, alpha: loraScale(lora) * lora.r });
  const fileName = `${baseName}-adapter.gguf`;
  await writeFileFrom(join(folder, fileName), writeGguf({ metadata, tensors }));
  return [fileName];
}
