import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expectedTensors, textConfig } from '@pairwise/model';
import { readText, streamSafetensors, type ModelFolder, type StreamedTensor } from '@pairwise/safetensors';
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
 * The most bytes of weights in one file: 5 GB, the default of transformers 4. Transformers 5 allows 50 GB, but an interrupted
 * download of a smaller file repeats less.
 */
const defaultWeightFileBytes = 5e9;

/**
 * Writes a whole model in Hugging Face layout: its weights, the base model's tokenizer files, and its config.json with the new
 * dtype. If `type` is undefined, each tensor keeps the base model's dtype. Models with more than `weightFileBytes` of weights
 * (default: 5 GB) have several weight files and an index. Yields the name of each file when it is complete; it may then be
 * moved away. Throws DISK_FULL, CANCELLED, NON_FINITE.
 */
export async function* writeMergedArtifact(
  folder: string,
  model: { base: ModelFolder; config: ModelConfig; weights: ExportWeights },
  options: { type: StoredType | undefined; weightFileBytes?: number; signal?: AbortSignal },
): AsyncGenerator<string> {
  const { base, config, weights } = model;
  const tensors = [...expectedTensors(config)].map(([name, shape]) => {
    const type = options.type ?? weights.storedType(name);
    return { name, shape, dtype: type, data: () => stored(weights, { name, shape, type }, options.signal) };
  });
  const parts = weightParts(tensors, options.weightFileBytes ?? defaultWeightFileBytes);
  for (const [name, part] of parts) {
    await requireDiskSpace(folder, sizeOf(part), name);
    // transformers and PEFT reject files without the name of a framework.
    await writeFileFrom(join(folder, name), streamSafetensors(part, { format: 'pt' }));
    yield name;
  }
  const texts = new Map([['config.json', await configText(base, config, options.type)]]);
  if (parts.size > 1) texts.set('model.safetensors.index.json', indexText(parts));
  for (const [path, text] of texts) await writeFile(join(folder, path), text);
  const copied = base.files.filter(({ path }) => companions.includes(path));
  for (const { path, sizeBytes } of copied) await writeFile(join(folder, path), await base.read(path, 0, sizeBytes));
  yield* [...texts.keys(), ...copied.map(({ path }) => path)];
}

type StoredTensor = StreamedTensor & { dtype: StoredType };

function sizeOf(tensors: readonly StoredTensor[]): number {
  return tensors.reduce((sum, { shape, dtype }) => sum + shape.reduce((a, b) => a * b, storedBytes[dtype]), 0);
}

/** The tensors of each weight file by its name, in order. A tensor above the limit gets a file of its own. */
function weightParts(tensors: readonly StoredTensor[], weightFileBytes: number): Map<string, StoredTensor[]> {
  const parts: StoredTensor[][] = [];
  let size = Infinity;
  for (const tensor of tensors) {
    size += sizeOf([tensor]);
    if (size > weightFileBytes) {
      parts.push([]);
      size = sizeOf([tensor]);
    }
    parts.at(-1)!.push(tensor);
  }
  const digits = (count: number) => String(count).padStart(5, '0');
  const nameOf = (index: number) =>
    parts.length === 1 ? 'model.safetensors' : `model-${digits(index + 1)}-of-${digits(parts.length)}.safetensors`;
  return new Map(parts.map((part, index) => [nameOf(index), part]));
}

/** Which weight file contains each tensor. */
function indexText(parts: ReadonlyMap<string, StoredTensor[]>): string {
  const files = [...parts].flatMap(([file, part]) => part.map(({ name }) => [name, file] as const));
  const metadata = { total_size: sizeOf([...parts.values()].flat()) };
  return `${JSON.stringify({ metadata, weight_map: Object.fromEntries(files) }, null, 2)}\n`;
}

async function* stored(
  weights: ExportWeights,
  tensor: { name: string; shape: readonly number[]; type: StoredType },
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const { rows } of rowChunks(weights, tensor, 1, signal))
    yield encodeFinite(tensor.name, rows, tensor.type);
}

/**
 * The base model's config.json with the new dtype (`dtype` since transformers 5, `torch_dtype` before), and without a tie
 * that the weights do not have; of a model for images and text that of its text part. Unchanged if it already says all that.
 */
async function configText(
  base: ModelFolder,
  { tieWordEmbeddings }: ModelConfig,
  type: StoredType | undefined,
): Promise<string> {
  const text = (await readText(base, 'config.json'))!;
  const file = parseAsWritten(text);
  const config = textConfig(file);
  const changes = {
    ...(type !== undefined && { ['dtype' in config ? 'dtype' : 'torch_dtype']: torchNames[type] }),
    ...(config['tie_word_embeddings'] === true && !tieWordEmbeddings && { tie_word_embeddings: false }),
  };
  return config === file && Object.keys(changes).length === 0
    ? text
    : `${JSON.stringify({ ...config, ...changes }, null, 2)}\n`;
}

/** TypeScript's library does not have these yet. */
const { parse, rawJSON } = JSON as unknown as {
  parse: (text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown) => unknown;
  rawJSON: (text: string) => unknown;
};

/** Parses JSON such that numbers are written again as they were: transformers refuses 30 where a Gemma 2 has 30.0. */
function parseAsWritten(text: string): unknown {
  return parse(text, (_, value, { source }) =>
    typeof value === 'number' && String(value) !== source ? rawJSON(source!) : value,
  );
}
