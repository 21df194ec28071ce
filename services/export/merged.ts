import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expectedTensors } from '@pairwise/model';
import { readText, streamSafetensors, type ModelFolder } from '@pairwise/safetensors';
import type { ModelConfig } from '@pairwise/model';
import { requireDiskSpace, writeFileFrom } from './files.ts';
import { encodeFinite, storedBytes } from './storage.ts';
import type { StoredType } from './storage.ts';
import { rowChunks } from './weights.ts';
import type { ExportWeights } from './weights.ts';

/** Files of a Hugging Face folder that do not depend on the weights. */
const companions = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'tokenizer.model',
  'vocab.json',
  'merges.txt',
  'LICENSE',
  'LICENSE.txt',
];

const torchNames: Record<StoredType, string> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/**
 * Writes a whole model in Hugging Face layout: one `model.safetensors`, the base model's tokenizer files, and its
 * config.json with the new dtype. If `type` is undefined, each tensor keeps the base model's dtype. Returns the names of the
 * files. Throws DISK_FULL, CANCELLED, NON_FINITE.
 */
export async function writeMergedArtifact(
  folder: string,
  model: { base: ModelFolder; config: ModelConfig; weights: ExportWeights },
  options: { type: StoredType | undefined; signal?: AbortSignal },
): Promise<string[]> {
  const { base, config, weights } = model;
  const tensors = [...expectedTensors(config)].map(([name, shape]) => {
    const type = options.type ?? weights.storedType(name);
    return { name, shape, dtype: type, data: () => stored(weights, { name, shape, type }, options.signal) };
  });
  const sizes = tensors.map(({ shape, dtype }) => shape.reduce((product, dim) => product * dim, storedBytes[dtype]));
  await requireDiskSpace(
    folder,
    sizes.reduce((sum, size) => sum + size),
    'the merged model',
  );
  // transformers and PEFT reject files without the name of a framework.
  await writeFileFrom(join(folder, 'model.safetensors'), streamSafetensors(tensors, { format: 'pt' }));
  const copied = base.files.filter(({ path }) => companions.includes(path));
  for (const { path, sizeBytes } of copied) await writeFile(join(folder, path), await base.read(path, 0, sizeBytes));
  await writeFile(join(folder, 'config.json'), await configText(base, options.type));
  return ['config.json', 'model.safetensors', ...copied.map(({ path }) => path)];
}

async function* stored(
  weights: ExportWeights,
  tensor: { name: string; shape: readonly number[]; type: StoredType },
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const { rows } of rowChunks(weights, tensor, 1, signal))
    yield encodeFinite(tensor.name, rows, tensor.type);
}

/** The base model's config.json with the new dtype: `dtype` since transformers 5, `torch_dtype` before. */
async function configText(base: ModelFolder, type: StoredType | undefined): Promise<string> {
  const text = (await readText(base, 'config.json'))!;
  if (type === undefined) return text;
  const config = JSON.parse(text) as Record<string, unknown>;
  const named = { ...config, ['dtype' in config ? 'dtype' : 'torch_dtype']: torchNames[type] };
  return `${JSON.stringify(named, null, 2)}\n`;
}
