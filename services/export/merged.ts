import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requireRoom, writeFileFrom } from './files.ts';
import { safetensorsStream } from './safetensors.ts';
import { encodeFinite, storedBytes } from './storage.ts';
import type { StoredType } from './storage.ts';
import { rowChunks } from './weights.ts';
import type { ExportWeights } from './weights.ts';

/** Files of a Hugging Face folder that go with any weights. */
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
 * Writes a whole model in Hugging Face layout: one `model.safetensors`, the base model's tokenizer files and its
 * config.json with the dtype put right. `type` defaults to how the base model stores each tensor. Returns the names of
 * the files. Throws `DISK_FULL`, `CANCELLED`, `NON_FINITE`.
 */
export async function writeMergedArtifact(
  folder: string,
  model: { baseFolder: string; weights: ExportWeights },
  options: { type: StoredType | undefined; signal?: AbortSignal },
): Promise<string[]> {
  const tensors = model.weights.tensors.map((tensor) => ({ ...tensor, type: options.type ?? tensor.type }));
  const sizes = tensors.map(({ shape, type }) => shape.reduce((product, dim) => product * dim, storedBytes[type]));
  await requireRoom(
    folder,
    sizes.reduce((sum, size) => sum + size, 0),
    'the merged model',
  );
  const streamed = tensors.map((tensor) => ({
    ...tensor,
    async *data() {
      for await (const { rows } of rowChunks(model.weights, tensor, 1, options.signal)) {
        yield encodeFinite(tensor.name, rows, tensor.type);
      }
    },
  }));
  await writeFileFrom(join(folder, 'model.safetensors'), safetensorsStream(streamed));
  const config = JSON.parse(await readFile(join(model.baseFolder, 'config.json'), 'utf8')) as Record<string, unknown>;
  await writeFile(join(folder, 'config.json'), `${JSON.stringify(withDtype(config, options.type), null, 2)}\n`);
  const present = new Set(await readdir(model.baseFolder));
  const copied = companions.filter((name) => present.has(name));
  for (const name of copied) await copyFile(join(model.baseFolder, name), join(folder, name));
  return ['config.json', 'model.safetensors', ...copied];
}

/** transformers 5 calls it `dtype`, those before `torch_dtype`. */
function withDtype(config: Record<string, unknown>, type: StoredType | undefined): Record<string, unknown> {
  if (type === undefined) return config;
  return { ...config, ['dtype' in config ? 'dtype' : 'torch_dtype']: torchNames[type] };
}
