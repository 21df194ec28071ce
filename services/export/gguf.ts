import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import {
  fileTypes,
  ggufObstacle,
  ggufSize,
  ggufTokenizer,
  interleaveHeads,
  isFloat32,
  isQuantized,
  modelfile,
  modelMetadata,
  modelTensors,
  ropeFactors,
  tensorTypes,
  windowCaveat,
  writeGguf,
} from '@pairwise/gguf';
import type { GgufTokenizer, GgufType, ModelTensor, TensorToWrite } from '@pairwise/gguf';
import { quantizeGguf } from '@pairwise/llamacpp';
import type { Importance, Quantization } from '@pairwise/llamacpp';
import { expectedTensors } from '@pairwise/model';
import type { ModelConfig } from '@pairwise/model';
import { requireDiskSpace, writeFileFrom } from './files.ts';
import { encodeFinite, encodeWeights } from './storage.ts';
import type { StoredType } from './storage.ts';
import { rowChunks } from './weights.ts';
import type { ExportWeights } from './weights.ts';
import type { Serving } from './serving.ts';

/** The input of the GGUF writer. */
export interface GgufModel extends Serving {
  /** Shown to users of the file. */
  name: string;
  config: ModelConfig;
  weights: ExportWeights;
}

export interface GgufArtifact {
  /** Names of the files; the GGUF file comes first. */
  files: string[];
  /** What differs from the model's own tokenizer and chat template, and from the type that was asked for; usually none. */
  caveats: string[];
  /** The report of llama.cpp's quantiser. Undefined for types that Pairwise writes itself. */
  quantization: Quantization | undefined;
}

/**
 * Writes `<baseName>-<type>.gguf` and its `Modelfile`. llama.cpp makes the quantised types from a temporary unquantised
 * file in the same folder, with `importance` if it is given and `threads` (default: 1). The Modelfile loads the file
 * `adapter` over the model. Throws DISK_FULL, CANCELLED, NON_FINITE, and UNSUPPORTED_FORMAT for a model or tokenizer that
 * llama.cpp does not support.
 */
export async function writeGgufArtifact(
  folder: string,
  model: GgufModel,
  options: {
    baseName: string;
    type: GgufType;
    importance?: Importance;
    threads?: number;
    adapter?: string | undefined;
    signal?: AbortSignal;
  },
): Promise<GgufArtifact> {
  const { baseName, type, importance, threads = 1, adapter, signal } = options;
  const fileName = `${baseName}-${type}.gguf`;
  const path = join(folder, fileName);
  const obstacle = ggufObstacle(model.config);
  if (obstacle !== undefined) throw new PairwiseError('UNSUPPORTED_FORMAT', obstacle);
  const tokenizer = ggufTokenizer({ ...model.tokenizer, vocabSize: model.config.vocabularySize });
  let quantization: Quantization | undefined;
  if (isQuantized(type)) {
    const source = join(folder, `${baseName}-source.gguf`);
    const unquantised = sourceType(model);
    try {
      await writeUnquantised(source, model, tokenizer, unquantised, signal);
      const given = { ...(importance && { importance }), ...(signal && { signal }) };
      quantization = await quantizeGguf({ input: source, output: path, type, threads, ...given });
    } finally {
      await rm(source, { force: true });
    }
  } else {
    await writeUnquantised(path, model, tokenizer, type, signal);
  }
  const { chat, stops } = model;
  const text = modelfile({ gguf: fileName, adapter, chat, bosAddedByModel: tokenizer.bosAdded, stops });
  await writeFile(join(folder, 'Modelfile'), text);
  const window = windowCaveat(model.config);
  const caveats = [
    ...tokenizer.caveats,
    ...model.caveats,
    ...(window === undefined ? [] : [window]),
    ...(quantization ? fallbackCaveats(type, quantization) : []),
  ];
  return { files: [fileName, 'Modelfile'], caveats, quantization };
}

/** What users see of rows that do not fit the type: a file that is larger or less precise than its type says. */
function fallbackCaveats(type: GgufType, { fallbacks }: Quantization): string[] {
  if (fallbacks.length === 0) return [];
  const { matrices } = fileTypes[type];
  const others = [...new Set(fallbacks.map((each) => each.type))].sort().join(', ');
  const count = fallbacks.length === 1 ? '1 matrix has' : `${fallbacks.length} matrices have`;
  return [
    `${count} rows that are not a multiple of ${tensorTypes[matrices].blockWeights} weights, as ${matrices} needs: llama.cpp stores them as ${others}`,
  ];
}

/** The type to quantise from: F32 if the weights are, otherwise F16, which is more precise than BF16 at the same size. */
export function sourceType({ config, weights }: GgufModel): StoredType {
  const matrices = [...expectedTensors(config)].filter(([, shape]) => shape.length > 1);
  return matrices.some(([name]) => weights.storedType(name) === 'F32') ? 'F32' : 'F16';
}

/** Writes a model before its weights are rounded, as a temporary F32 file. Returns its path. */
export async function writeExact(folder: string, model: GgufModel, signal: AbortSignal): Promise<string> {
  const options = { baseName: 'exact', type: 'F32' as const, signal };
  const { files } = await writeGgufArtifact(folder, model, options);
  return join(folder, files[0]!);
}

async function writeUnquantised(
  path: string,
  model: GgufModel,
  tokenizer: GgufTokenizer,
  type: StoredType,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { stripsSpaces } = tokenizer;
  const metadata = modelMetadata(model.config, { name: model.name, type, stripsSpaces }, tokenizer.metadata);
  const tensors = modelTensors(model.config).map((tensor) => streamed(tensor, model.weights, type, signal));
  for (const { name, factors } of ropeFactors(model.config)) {
    const data = () => Promise.resolve(encodeWeights(factors, 'F32'));
    tensors.unshift({ name, dims: [factors.length], type: 'F32', data });
  }
  await requireDiskSpace(join(path, '..'), ggufSize({ metadata, tensors }), 'the GGUF file');
  await writeFileFrom(path, writeGguf({ metadata, tensors }));
}

function streamed(
  tensor: ModelTensor,
  weights: ExportWeights,
  type: StoredType,
  signal: AbortSignal | undefined,
): TensorToWrite {
  const { name, sources, shape, dims, interleavedHeads: heads, offset } = tensor;
  const stored = isFloat32(tensor) ? 'F32' : type;
  const headRows = heads === undefined ? 1 : shape[0]! / heads;
  return {
    name,
    dims,
    type: stored,
    async *data() {
      for (const source of sources) {
        for await (const { rows, count } of rowChunks(weights, { name: source, shape }, headRows, signal)) {
          const bytes = encodeFinite(name, offset === 0 ? rows : rows.map((value) => value + offset), stored);
          yield heads === undefined ? bytes : interleaveHeads(bytes, count, count / headRows);
        }
      }
    },
  };
}
