import { PairwiseError } from '@pairwise/errors';
import { nf4BlockSize } from '@pairwise/onnx';
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  headerLength,
  parseHeader,
  type ModelFolder,
  type StreamedTensor,
} from '@pairwise/safetensors';
import { architectures } from './architectures.ts';
import type { ModelConfig } from './config.ts';
import { linearName } from './linearModules.ts';
import { quantizeInt8, quantizeNf4 } from './quantization.ts';
import type { Weight } from './tensors.ts';

/** How the linear layers of a frozen model are stored. Embeddings, norms, biases and the head stay as they are. */
export type BaseQuantization = 'INT8' | 'NF4';

/** The tensors in which a quantised weight is stored. */
export const codesName = (weight: string) => `${weight}.codes`;
export const absmaxName = (weight: string) => `${weight}.absmax`;

/**
 * How many weights are quantised at a time, in whole blocks of NF4: few enough that the process can answer calls in between,
 * since a million take about 0.1 s.
 */
const chunkLength = 2 ** 20;

/**
 * The linear layers of a model in fewer bits, for `streamSafetensors`. The same model gives the same bytes. The weights are
 * read from `folder` while they are written. Throws UNSUPPORTED_CONFIG for a layer that is not whole bytes and blocks of NF4.
 */
export function quantizedLinears(
  folder: ModelFolder,
  { config, weights }: { config: ModelConfig; weights: ReadonlyMap<string, Weight> },
  quantization: BaseQuantization,
): StreamedTensor[] {
  const { modules } = architectures[config.architecture];
  const layers = Array.from({ length: config.layerCount }, (_, layer) => layer);
  const names = layers.flatMap((layer) => modules.map((module) => linearName(layer, module)));
  return names.flatMap((name) => quantized(folder, weights.get(name)!, quantization));
}

function quantized({ read }: ModelFolder, weight: Weight, quantization: BaseQuantization): StreamedTensor[] {
  const { name, file, offset, length, dtype } = weight;
  const [rows, columns] = weight.shape as [number, number];
  const blocks = (rows * columns) / nf4BlockSize;
  if (quantization === 'NF4' && (columns % 2 !== 0 || !Number.isInteger(blocks))) {
    const message = `${name} is [${rows}, ${columns}]; NF4 needs even columns and a multiple of ${nf4BlockSize} weights; use INT8`;
    throw new PairwiseError('UNSUPPORTED_CONFIG', message);
  }
  const bytesPerRow = length / rows;
  const rowsAtOnce = nf4BlockSize * Math.max(1, Math.floor(chunkLength / nf4BlockSize / columns));
  const magnitudes: Float32Array[] = [];
  async function* codes(): AsyncGenerator<Uint8Array> {
    for (let row = 0; row < rows; row += rowsAtOnce) {
      const [start, end] = [row * bytesPerRow, Math.min(row + rowsAtOnce, rows) * bytesPerRow];
      const values = toFloat32(await read(file, offset + start, offset + end), dtype);
      const chunk = quantization === 'NF4' ? quantizeNf4(values) : quantizeInt8(values, columns);
      magnitudes.push(chunk.absmax);
      yield new Uint8Array(chunk.codes.buffer);
    }
  }
  const absmax = () => magnitudes.splice(0).map(({ buffer }) => new Uint8Array(buffer));
  const stored =
    quantization === 'NF4'
      ? { dtype: 'U8' as const, codes: [rows, columns / 2], absmax: [blocks, 1] }
      : { dtype: 'I8' as const, codes: [rows, columns], absmax: [rows] };
  return [
    { name: codesName(name), dtype: stored.dtype, shape: stored.codes, data: codes },
    // Follows the codes, with which it was computed.
    { name: absmaxName(name), dtype: 'F32', shape: stored.absmax, data: absmax },
  ];
}

function toFloat32(bytes: Uint8Array, dtype: Weight['dtype']): Float32Array {
  const { buffer } = new Uint8Array(bytes);
  if (dtype === 'F32') return new Float32Array(buffer);
  return (dtype === 'BF16' ? bfloat16ToFloat32 : float16ToFloat32)(new Uint16Array(buffer));
}

/** Where the tensors of a file of quantised layers are, by name. Throws INVALID_FILE. */
export async function readQuantizedLinears(folder: ModelFolder, file: string): Promise<Map<string, Weight>> {
  const { sizeBytes } = folder.files.find(({ path }) => path === file)!;
  const length = headerLength(await folder.read(file, 0, Math.min(8, sizeBytes)), sizeBytes, file);
  const places = parseHeader(await folder.read(file, 8, 8 + length), sizeBytes, file);
  return new Map(places.map((place) => [place.name, { ...place, file }]));
}
