/*
 * The forward pass of a Llama-type decoder:
 * - RMSNorm before attention and before the MLP, no biases
 * - rotary position embeddings
 * - grouped-query attention
 * - SwiGLU MLP; the backward pass recomputes its gate and the norms (activation checkpointing)
 * - tied or untied embeddings
 * - packed rows without padding outside softmax(Q K^T) V (the picture is in pack.ts)
 * - logits only for rows that predict a target
 *
 * Shapes at the ends of lines: T rows, N targets, E hidden size, F intermediate size, V vocabulary, H query heads,
 * G key-value heads, R = H / G, D head size; a block has P trees, padded to L rows each.
 */
import { ops, product, type GraphBuilder, type Value } from '@pairwise/onnx';
import type { ModelConfig } from './config.ts';
import type { PackedInputs } from './packedInputs.ts';
import { linearName, type LinearModule } from './tensors.ts';

/** How the forward pass reads the model's parameters. */
export interface ModelParameters {
  /** A tensor of the model, as float32. */
  weight: (name: string) => Value;
  /** Linear layers with the same input: x `[T, in]` times each weight `[out, in]` transposed, adapters included. */
  linears: (x: Value, layer: number, modules: readonly LinearModule[]) => Value[];
}

/** log p of each target given the tokens before it, in nats: `[N]`. */
export function tokenLogps(
  g: GraphBuilder,
  config: ModelConfig,
  inputs: PackedInputs,
  parameters: ModelParameters,
): Value {
  const { gather, gatherRows } = ops(g);
  const { weight } = parameters;
  let x = gather(weight('model.embed_tokens.weight'), inputs.tokens); // [T, E]
  for (let layer = 0; layer < config.layerCount; layer++) {
    x = decoderLayer(g, x, layer, config, inputs, parameters); // [T, E]
  }
  // A row at which two branches begin predicts the first token of both, so it is gathered twice.
  const inverses = inputs.predicted.map((index) => ({ index, none: true }));
  const predicting = gatherRows(x, { index: inputs.logitRows, none: false }, inverses); // [N, E]
  const hidden = rmsNorm(g, predicting, weight('model.norm.weight'), config.normEpsilon); // [N, E]
  const head = weight(config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight'); // [V, E]
  return targetLogps(g, hidden, head, inputs.targets); // [N]
}

function decoderLayer(
  g: GraphBuilder,
  x: Value,
  layer: number,
  config: ModelConfig,
  inputs: PackedInputs,
  { weight, linears }: ModelParameters,
): Value {
  const { add, mul, reshape, sigmoid } = ops(g);
  const { headCount, kvHeadCount, headDim, normEpsilon } = config;
  const norm = (name: string, value: Value) =>
    rmsNorm(g, value, weight(`model.layers.${layer}.${name}.weight`), normEpsilon);
  const heads = (value: Value, count: number) => reshape(value, ['T', count, headDim]);

  const normed = norm('input_layernorm', x); // [T, E]
  const [q, k, v] = linears(normed, layer, ['q_proj', 'k_proj', 'v_proj']) as [Value, Value, Value]; // [T, H D], [T, G D]
  // Scaling the queries costs less than scaling the scores.
  const queries = mul(rotate(g, heads(q, headCount), inputs), 1 / Math.sqrt(headDim)); // [T, H, D]
  const keys = rotate(g, heads(k, kvHeadCount), inputs); // [T, G, D]
  const attended = attention(g, queries, keys, heads(v, kvHeadCount), config, inputs); // [T, H, D]
  const [o] = linears(reshape(attended, ['T', headCount * headDim]), layer, ['o_proj']) as [Value]; // [T, E]
  const middle = add(x, o); // [T, E]

  const hidden = norm('post_attention_layernorm', middle); // [T, E]
  const [gate, up] = linears(hidden, layer, ['gate_proj', 'up_proj']) as [Value, Value]; // [T, F]
  const gated = g.activationCheckpointing(() => mul(mul(gate, sigmoid(gate)), up)); // [T, F]
  const [down] = linears(gated, layer, ['down_proj']) as [Value]; // [T, E]
  return add(middle, down); // [T, E]
}

/** x / sqrt(mean(x^2) + epsilon) * weight, over the last axis. */
function rmsNorm(g: GraphBuilder, x: Value, weight: Value, epsilon: number): Value {
  const { add, mul, reciprocal, reduceMean, sqrt } = ops(g);
  const inverse = reciprocal(sqrt(add(reduceMean(mul(x, x), [-1]), epsilon))); // [T, 1]
  return g.activationCheckpointing(() => mul(mul(x, inverse), weight)); // [T, E]
}

/** Rotary embedding of x `[T, heads, D]`, in Hugging Face's layout: [first half | second half]. */
function rotate(g: GraphBuilder, x: Value, { cos, sin }: PackedInputs): Value {
  const { add, concat, mul, split, sub } = ops(g);
  const half = (x.shape[2] as number) / 2;
  const [a, b] = split(x, 2, [half, half]) as [Value, Value]; // [T, heads, D / 2]
  return concat([sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin))], 2); // [T, heads, D]
}

/** Attention within trees: queries `[T, H, D]`, keys and values `[T, G, D]`; the result is `[T, H, D]`. */
function attention(
  g: GraphBuilder,
  queries: Value,
  keys: Value,
  values: Value,
  { headCount, kvHeadCount, headDim }: ModelConfig,
  inputs: PackedInputs,
): Value {
  const { add, concat, gatherRows, matMul, reshape, reshapeBy, softmax, splitBy, transpose } = ops(g);
  const { queryRows, queryCells, queryBack, querySizes, keyRows, keyCells, keySizes } = inputs;
  const sharing = headCount / kvHeadCount; // R
  const intoBlocks = (x: Value, rows: Value, cells: Value, sizes: Value, heads: number) => {
    const all = gatherRows(x, { index: rows, none: false }, [{ index: cells, none: false }]); // [Q, D] or [K, D]
    const parts = inputs.blocks.map(({ count, length }) => product([count, heads, length]));
    return splitBy(all, 0, sizes, parts); // [P heads L, D] for each block
  };
  const queryParts = intoBlocks(queries, queryRows, queryCells, querySizes, headCount);
  const keyParts = intoBlocks(keys, keyRows, keyCells, keySizes, kvHeadCount);
  const valueParts = intoBlocks(values, keyRows, keyCells, keySizes, kvHeadCount);
  const outs = inputs.blocks.map(({ count, length, mask, queryShape, keyShape, scoreShape, weightShape }, block) => {
    const queryLength = product([sharing, length]); // the R query heads of a key-value head, one after the other
    const q = reshapeBy(queryParts[block]!, queryShape, [count, kvHeadCount, queryLength, headDim]); // [P, G, R L, D]
    const k = reshapeBy(keyParts[block]!, keyShape, [count, kvHeadCount, length, headDim]); // [P, G, L, D]
    const v = reshapeBy(valueParts[block]!, keyShape, [count, kvHeadCount, length, headDim]); // [P, G, L, D]
    const scores = matMul(q, transpose(k, [0, 1, 3, 2])); // [P, G, R L, L]
    const masked = add(reshapeBy(scores, scoreShape, [count, kvHeadCount, sharing, length, length]), mask); // [P, G, R, L, L]
    const weights = reshapeBy(softmax(masked), weightShape, [count, kvHeadCount, queryLength, length]); // [P, G, R L, L]
    return reshape(matMul(weights, v), [product([count, kvHeadCount, queryLength]), headDim]); // [P H L, D]
  });
  const back = [{ index: queryBack, none: true }];
  return gatherRows(concat(outs, 0, 'Q'), { index: queryCells, none: false }, back); // [T, H, D]
}

/**
 * log softmax(hidden head^T) at the targets, for hidden `[N, E]` and head `[V, E]`: `[N]`. The target's logit is a dot
 * product of its own, so that no gradient of the logits' size is scattered. The maximum is subtracted before exp; it cancels
 * out, so no gradient flows through it.
 */
function targetLogps(g: GraphBuilder, hidden: Value, head: Value, targets: Value): Value {
  const { add, exp, gather, gemm, log, mul, reduceMax, reduceSum, reshape, stopGradient, sub } = ops(g);
  const logits = gemm(hidden, head, { transB: true }); // [N, V]
  const max = stopGradient(reduceMax(logits, [-1])); // [N, 1]
  const logSum = add(log(reduceSum(exp(sub(logits, max)), [-1])), max); // [N, 1]
  const targetLogit = reduceSum(mul(gather(head, targets), hidden), [-1]); // [N, 1]
  return reshape(sub(targetLogit, logSum), ['N']); // [N]
}

/** x `[T, in]` times the weight of a linear layer, transposed: what a layer without an adapter computes. */
export function frozenLinear(
  g: GraphBuilder,
  x: Value,
  layer: number,
  module: LinearModule,
  weight: ModelParameters['weight'],
): Value {
  return ops(g).gemm(x, weight(linearName(layer, module)), { transB: true }); // [T, out]
}
