import { existsSync } from 'node:fs';
import { mkdir, open, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expectedTensors, parseConfig } from '@pairwise/model';
import { streamSafetensors } from '@pairwise/safetensors';
import { uniformStream } from '@pairwise/training';

/** The shape of HuggingFaceTB/SmolLM2-135M. */
export const smolConfig = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_act: 'silu',
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49152,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  tie_word_embeddings: true,
  torch_dtype: 'float32',
};

/**
 * Returns the folder of a base model of this shape with random weights, 538 MB in float32. It is written once and kept in the
 * system's temporary folder.
 */
export async function benchModel(): Promise<string> {
  const folder = join(tmpdir(), 'pairwise-bench');
  const path = join(folder, 'model.safetensors');
  if (existsSync(path)) return folder;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(smolConfig));
  const tensors = [...expectedTensors(parseConfig(smolConfig))].map(([name, shape]) => ({
    name,
    shape,
    dtype: 'F32' as const,
    data: () => [randomWeights(name, shape)],
  }));
  const partial = `${path}.${process.pid}.part`;
  {
    await using file = await open(partial, 'w');
    for await (const bytes of streamSafetensors(tensors)) await file.writeFile(bytes);
  }
  await rename(partial, path);
  return folder;
}

/** Norm weights are 1. All others are uniform with standard deviation 0.02, as in a new Llama. */
function randomWeights(name: string, shape: readonly number[]): Uint8Array {
  const values = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(1);
  if (shape.length > 1) {
    const uniform = uniformStream(0, name);
    for (let i = 0; i < values.length; i++) values[i] = (uniform() - 0.5) * 0.02 * Math.sqrt(12);
  }
  return new Uint8Array(values.buffer);
}
