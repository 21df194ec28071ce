import {
  add,
  cast,
  concat,
  exp,
  gather,
  gatherRows,
  gemm,
  log,
  matMul,
  mul,
  product,
  reciprocal,
  reduceMax,
  reduceMean,
  reduceSum,
  reshape,
  reshapeBy,
  sigmoid,
  softmax,
  split,
  splitBy,
  sqrt,
  stopGradient,
  sub,
  transpose,
  type GraphBuilder,
  type Value,
} from '@pairwise/onnx';
import type { ModelConfig } from './config.ts';
import { groupCount } from './groups.ts';
import { linearName, type LinearModule } from './tensors.ts';

/** How the forward graph gets at parameters. */
export interface Parameters {
  /** A tensor of the checkpoint, as float32. */
  weight: (name: string) => Value;
  /** Linear layers of one input: x `[T, in]` times each weight `[out, in]` transposed, adapters included. */
  linears: (x: Value, layer: number, modules: readonly LinearModule[]) => Value[];
}

export type PackedInputs = ReturnType<typeof packedInputs>;

/** Declares the inputs that `packSegments` fills: T rows, N targets, and blocks of P by L rows. */
export function packedInputs(g: GraphBuilder, { headCount, kvHeadCount, headDim }: ModelConfig) {
  const rows = (name: string, shape: (string | number)[]) => g.input(name, 'int32', shape);
  const shape = (name: string, rank: number) => g.input(name, 'int64', [rank]);
  const table = (name: string) => g.input(name, 'float32', ['T', 1, headDim / 2]);
  return {
    tokens: rows('tokens', ['T']),
    cos: table('cos'),
    sin: table('sin'),
    logitRows: rows('logit_rows', ['N']),
    targets: rows('targets', ['N']),
    predicted: [rows('predicted_0', ['T']), rows('predicted_1', ['T'])],
    queryRows: rows('query_rows', ['Q']),
    queryCells: rows('query_cells', ['T', headCount]),
    queryBack: rows('query_back', ['Q']),
    keyRows: rows('key_rows', ['K']),
    keyCells: rows('key_cells', ['T', kvHeadCount]),
    querySizes: shape('query_sizes', groupCount),
    keySizes: shape('key_sizes', groupCount),
    blocks: Array.from({ length: groupCount }, (_, block) => ({
      count: `P${block}`,
      length: `L${block}`,
      mask: g.input(`mask_${block}`, 'float32', [`P${block}`, 1, 1, `L${block}`, `L${block}`]),
      queryShape: shape(`query_shape_${block}`, 4),
      keyShape: shape(`key_shape_${block}`, 4),
      scoreShape: shape(`score_shape_${block}`, 5),
      weightShape: shape(`weight_shape_${block}`, 4),
    })),
  };
}

/** log p of every target given what comes before it, in nats: `[N]`. */
export function tokenLogps(g: GraphBuilder, config: ModelConfig, inputs: PackedInputs, parameters: Parameters): Value {
  const { weight } = parameters;
  let x = gather(g, weight('model.embed_tokens.weight'), inputs.tokens);
  for (let layer = 0; layer < config.layerCount; layer++) x = decoderLayer(g, x, layer, config, inputs, parameters);
  // Only the rows that predict a target go on. A row that begins two branches is used twice.
  const rows = { index: inputs.logitRows, none: false };
  const inverses = inputs.predicted.map((index) => ({ index, none: true }));
  const last = rmsNorm(g, gatherRows(g, x, rows, inverses), weight('model.norm.weight'), config.normEpsilon);
  const head = weight(config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight');
  return targetLogps(g, last, head, inputs.targets);
}

function decoderLayer(
  g: GraphBuilder,
  x: Value,
  layer: number,
  config: ModelConfig,
  inputs: PackedInputs,
  { weight, linears }: Parameters,
): Value {
  const { headCount, kvHeadCount, headDim, normEpsilon } = config;
  const norm = (name: string, value: Value) =>
    rmsNorm(g, value, weight(`model.layers.${layer}.${name}.weight`), normEpsilon);
  const [q, k, v] = linears(norm('input_layernorm', x), layer, ['q_proj', 'k_proj', 'v_proj']) as [Value, Value, Value];
  const heads = (value: Value, count: number) => reshape(g, value, ['T', count, headDim]);
  // Scaling the queries here costs less than scaling the scores.
  const queries = mul(g, rotate(g, heads(q, headCount), inputs), 1 / Math.sqrt(headDim));
  const keys = rotate(g, heads(k, kvHeadCount), inputs);
  const attended = attention(g, queries, keys, heads(v, kvHeadCount), config, inputs);
  const [o] = linears(reshape(g, attended, ['T', headCount * headDim]), layer, ['o_proj']) as [Value];
  const middle = add(g, x, o);
  const hidden = norm('post_attention_layernorm', middle);
  const [gate, up] = linears(hidden, layer, ['gate_proj', 'up_proj']) as [Value, Value];
  const gated = g.recomputed(() => mul(g, mul(g, gate, sigmoid(g, gate)), up));
  const [down] = linears(gated, layer, ['down_proj']) as [Value];
  return add(g, middle, down);
}

/** x / sqrt(mean(x^2) + epsilon) * weight, over the last axis. */
function rmsNorm(g: GraphBuilder, x: Value, weight: Value, epsilon: number): Value {
  const meanSquare = reduceMean(g, mul(g, x, x), [-1]);
  const inverse = reciprocal(g, sqrt(g, add(g, meanSquare, epsilon)));
  return g.recomputed(() => mul(g, mul(g, x, inverse), weight));
}

/** Rotary embedding of x `[T, heads, headDim]`, in the halves layout of Hugging Face checkpoints. */
function rotate(g: GraphBuilder, x: Value, { cos, sin }: PackedInputs): Value {
  const half = (x.shape[2] as number) / 2;
  const [a, b] = split(g, x, 2, [half, half]) as [Value, Value];
  const turned = [sub(g, mul(g, a, cos), mul(g, b, sin)), add(g, mul(g, b, cos), mul(g, a, sin))];
  return concat(g, turned, 2);
}

/** Attention within segments: queries `[T, heads, headDim]`, keys and values `[T, kvHeads, headDim]`. */
function attention(
  g: GraphBuilder,
  queries: Value,
  keys: Value,
  values: Value,
  { headCount, kvHeadCount, headDim }: ModelConfig,
  inputs: PackedInputs,
): Value {
  const heads = headCount / kvHeadCount;
  const parts = (x: Value, rows: Value, cells: Value, sizes: Value, headsOfCell: number) =>
    splitBy(
      g,
      gatherRows(g, x, { index: rows, none: false }, [{ index: cells, none: false }]),
      0,
      sizes,
      inputs.blocks.map(({ count, length }) => product([count, headsOfCell, length])),
    );
  const { queryRows, queryCells, queryBack, querySizes, keyRows, keyCells, keySizes } = inputs;
  const queryParts = parts(queries, queryRows, queryCells, querySizes, headCount);
  const keyParts = parts(keys, keyRows, keyCells, keySizes, kvHeadCount);
  const valueParts = parts(values, keyRows, keyCells, keySizes, kvHeadCount);
  const outs = inputs.blocks.map(({ count, length, mask, queryShape, keyShape, scoreShape, weightShape }, block) => {
    const queryLength = product([heads, length]);
    const q = reshapeBy(g, queryParts[block]!, queryShape, [count, kvHeadCount, queryLength, headDim]);
    const k = reshapeBy(g, keyParts[block]!, keyShape, [count, kvHeadCount, length, headDim]);
    const v = reshapeBy(g, valueParts[block]!, keyShape, [count, kvHeadCount, length, headDim]);
    const scores = matMul(g, q, transpose(g, k, [0, 1, 3, 2]));
    const masked = add(g, reshapeBy(g, scores, scoreShape, [count, kvHeadCount, heads, length, length]), mask);
    const weights = reshapeBy(g, softmax(g, masked), weightShape, [count, kvHeadCount, queryLength, length]);
    return reshape(g, matMul(g, weights, v), [product([count, kvHeadCount, queryLength]), headDim]);
  });
  const back = [{ index: queryBack, none: true }];
  return gatherRows(g, concat(g, outs, 0, 'Q'), { index: queryCells, none: false }, back);
}

/**
 * log softmax of hidden `[N, hidden]` times head `[vocabulary, hidden]` transposed, at the targets: `[N]`. The target's logit
 * is a dot product of its own, so that no gradient of the size of the logits is scattered. The maximum is taken off before
 * exp; it cancels out, and no gradient goes through it.
 */
function targetLogps(g: GraphBuilder, hidden: Value, head: Value, targets: Value): Value {
  const logits = gemm(g, hidden, head, { transB: true });
  const top = stopGradient(g, reduceMax(g, logits, [-1]));
  const logSum = add(g, log(g, reduceSum(g, exp(g, sub(g, logits, top)), [-1])), top);
  const own = reduceSum(g, mul(g, gather(g, head, targets), hidden), [-1]);
  return reshape(g, sub(g, own, logSum), ['N']);
}

/** A stored weight as float32. */
export function asFloat32(g: GraphBuilder, weight: Value): Value {
  return weight.dtype === 'float32' ? weight : cast(g, weight, 'float32');
}

/** The name of a linear layer's weight and x times it: what a layer without adapter computes. */
export function frozenLinear(
  g: GraphBuilder,
  x: Value,
  layer: number,
  module: LinearModule,
  weight: Parameters['weight'],
): Value {
  return gemm(g, x, weight(linearName(layer, module)), { transB: true });
}
