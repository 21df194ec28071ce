import { PairwiseError } from '@pairwise/errors';
import { ops, type Dtype, type GraphBuilder, type Value } from '@pairwise/onnx';
import {
  headerLength,
  indexName,
  isRecord,
  parseHeader,
  readJson,
  weightFiles,
  type ModelFolder,
} from '@pairwise/safetensors';
import { isMultimodal, parseConfig, type ModelConfig } from './config.ts';
import { absmaxName, codesName } from './quantizedLinears.ts';
import { checkTensors, type Weight } from './tensors.ts';

/** What a graph needs of a model folder: the config, and where the bytes of each tensor are. */
export interface BaseModel {
  config: ModelConfig;
  /** By the names that the tensors have in a model for text only. */
  weights: Map<string, Weight>;
  /** Tensors with which graphs replace the weights of linear layers, by the names of quantizedLinears.ts. @default none */
  quantized?: Map<string, Weight>;
  /** Whether the folder's model is for images and text: this is the part that generates text. */
  isTextPart: boolean;
}

/** The most tensors that all weight files may have together: many times what the largest allowed config needs. */
const maxTensors = 100_000;

/**
 * Reads the config and the headers of all weight files of a model folder, and checks them against each other. Of the weights
 * it reads only a head that is stored although the config ties it to the embedding: like transformers, the model then uses
 * both tensors unless they are equal. Throws UNSUPPORTED_ARCHITECTURE, UNSUPPORTED_CONFIG, INVALID_MODEL, INVALID_FILE,
 * MISSING_TENSOR, WRONG_SHAPE.
 */
export async function readBaseModel(folder: ModelFolder): Promise<BaseModel> {
  const json = await readJson(folder, 'config.json');
  if (json === undefined) {
    throw new PairwiseError('INVALID_MODEL', 'the folder does not contain a config.json', { field: 'config.json' });
  }
  const config = parseConfig(json);
  const isTextPart = isRecord(json) && isMultimodal(json);
  const sizes = new Map(folder.files.map(({ path, sizeBytes }) => [path, sizeBytes]));
  const weights: Weight[] = [];
  for (const file of await weightFiles([...sizes.keys()], () => readJson(folder, indexName))) {
    const sizeBytes = sizes.get(file)!;
    const length = headerLength(await folder.read(file, 0, Math.min(8, sizeBytes)), sizeBytes, file);
    const places = parseHeader(await folder.read(file, 8, 8 + length), sizeBytes, file);
    if (weights.length + places.length > maxTensors) {
      const message = `the weight files have more than ${maxTensors} tensors; no supported model has that many`;
      throw new PairwiseError('INVALID_MODEL', message, { field: file });
    }
    for (const place of places) {
      const name = isTextPart ? textName(place.name) : place.name;
      if (name !== undefined) weights.push({ ...place, name, file });
    }
  }
  const found = checkTensors(config, weights);
  if (!config.tieWordEmbeddings || !(await hasOwnHead(folder, found))) return { config, weights: found, isTextPart };
  const untied = { ...config, tieWordEmbeddings: false };
  return { config: untied, weights: checkTensors(untied, weights), isTextPart };
}

/** The name that a tensor of a model for images and text has in its text part; undefined if it belongs to the other parts. */
function textName(name: string): string | undefined {
  const [, inner, head] =
    /^(?:language_model\.model|model\.language_model)\.(.+)$|^(?:language_model\.)?(lm_head\.weight)$/.exec(name) ?? [];
  return inner === undefined ? head : `model.${inner}`;
}

const chunkBytes = 16 * 1024 * 1024;

/** Whether the weights have a head that differs from the embedding. */
async function hasOwnHead({ read }: ModelFolder, weights: ReadonlyMap<string, Weight>): Promise<boolean> {
  const head = weights.get('lm_head.weight');
  if (head === undefined) return false;
  const embedding = weights.get('model.embed_tokens.weight')!;
  if (head.dtype !== embedding.dtype || head.shape.join() !== embedding.shape.join()) return true;
  for (let at = 0; at < head.length; at += chunkBytes) {
    const end = Math.min(at + chunkBytes, head.length);
    const chunk = ({ file, offset }: Weight) => read(file, offset + at, offset + end);
    if (Buffer.compare(await chunk(head), await chunk(embedding)) !== 0) return true;
  }
  return false;
}

const graphDtypes: Record<string, Dtype> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  U8: 'uint8',
  I8: 'int8',
};

/** The model's tensors as frozen values of a graph, in float32: external data, each declared on first use. */
export function frozenWeights(
  g: GraphBuilder,
  { weights, quantized = new Map() }: Pick<BaseModel, 'weights' | 'quantized'>,
): (name: string) => Value {
  const { cast, dequantizeInt8, dequantizeNf4 } = ops(g);
  const declared = new Map<string, Value>();
  const external = ({ name, dtype, shape, file, offset, length }: Weight) =>
    g.external(name, graphDtypes[dtype]!, shape, { location: file, offset, length });
  const float32 = (name: string) => {
    const weight = weights.get(name)!;
    const codes = quantized.get(codesName(name));
    if (codes === undefined) return cast(external(weight), 'float32');
    const absmax = external(quantized.get(absmaxName(name))!);
    if (codes.dtype === 'I8') return dequantizeInt8(external(codes), absmax);
    return dequantizeNf4(external(codes), absmax, graphDtypes[weight.dtype]!);
  };
  return (name) => {
    const known = declared.get(name);
    if (known !== undefined) return known;
    const value = float32(name);
    declared.set(name, value);
    return value;
  };
}

/** The tensors as fed, trainable inputs of a graph, each declared on first use. */
export function trainedWeights(
  g: GraphBuilder,
  shapes: ReadonlyMap<string, readonly number[]>,
): (name: string) => Value {
  const declared = new Map<string, Value>();
  return (name) => {
    const known = declared.get(name);
    if (known !== undefined) return known;
    const value = g.input(name, 'float32', shapes.get(name)!);
    declared.set(name, value);
    return value;
  };
}
