/*
 * The forward pass of a decoder, with what its architecture declares (architectures.ts):
 * - RMSNorm before or after attention and the MLP, or both, and of queries and keys
 * - rotary position embeddings
 * - grouped-query attention, with a sliding window in some layers
 * - gated MLP, or experts of which each token goes through some
 * - tied or untied embeddings
 * - packed rows without padding; attention in chunks of queries (the picture is in pack.ts)
 * - logits only for rows that predict a target, and for some rows of the head at a time
 * - activation checkpointing: the backward pass recomputes the norms and the MLP's gate, or everything but the ends of the
 *   layers and the norms' denominators `[T, 1]`
 *
 * Shapes at the ends of lines: T rows, N targets, E hidden size, F intermediate size, V vocabulary, H query heads,
 * G key-value heads, D head size.
 */
import { ops, type GraphBuilder, type Value } from '@pairwise/onnx';
import { architectures, type BlockNorms } from './architectures.ts';
import type { ModelConfig } from './config.ts';
import { expertMlp } from './experts.ts';
import { biasName, linearName, type LinearModule } from './linearModules.ts';
import type { PackedInputs, RotaryInputs } from './packedInputs.ts';
import { linearShape } from './tensors.ts';

/** How the forward pass reads the model's parameters. */
export interface ModelParameters {
  /** A tensor of the model, as float32. */
  weight: (name: string) => Value;
  /** Linear layers with the same input: x `[T, in]` times each weight `[out, in]` transposed, adapters included. */
  linears: (x: Value, layer: number, modules: readonly LinearModule[]) => Value[];
  /** Called with how many tokens each expert of a layer had, int64 `[experts]`, in models with experts. @default nothing */
  expertLoad?: (layer: number, load: Value) => void;
}

/** log p of each target given the tokens before it, in nats: `[N]`. */
export function tokenLogps(
  g: GraphBuilder,
  config: ModelConfig,
  inputs: PackedInputs,
  parameters: ModelParameters,
): Value {
  const { gather, gatherRows, targetLogps } = ops(g);
  const { weight } = parameters;
  let x = scaled(g, gather(weight('model.embed_tokens.weight'), inputs.tokens), config.embeddingScale); // [T, E]
  for (let layer = 0; layer < config.layerCount; layer++) {
    x = decoderLayer(g, x, layer, config, inputs, parameters); // [T, E]
  }
  // A row at which two branches begin predicts the first token of both, so it is gathered twice.
  const inverses = inputs.predicted.map((index) => ({ index, none: true }));
  const predicting = gatherRows(x, { index: inputs.logitRows, none: false }, inverses); // [N, E]
  const hidden = rmsNorm(g, predicting, weight('model.norm.weight'), config); // [N, E]
  const head = weight(config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight'); // [V, E]
  return targetLogps(scaled(g, hidden, config.logitScale), head, inputs.targets, { softcap: config.logitSoftcap }); // [N]
}

function decoderLayer(
  g: GraphBuilder,
  x: Value,
  layer: number,
  config: ModelConfig,
  inputs: PackedInputs,
  parameters: ModelParameters,
): Value {
  const { add } = ops(g);
  const { attentionNorms, mlpNorms } = architectures[config.architecture];
  const norm = (name: string | undefined, value: Value) =>
    name === undefined ? value : rmsNorm(g, value, parameters.weight(`model.layers.${layer}.${name}.weight`), config);
  /** x + after(block(before(x))), where before and after are norms or nothing. */
  const residual = (value: Value, norms: BlockNorms, block: (normed: Value) => Value) => {
    const added = g.activationCheckpointing('layers', () =>
      scaled(g, norm(norms.after, block(norm(norms.before, value))), config.residualScale),
    ); // [T, E]
    return add(value, added); // [T, E]
  };
  const middle = g.activationCheckpointing('layers', () =>
    residual(x, attentionNorms, (normed) => attend(g, normed, layer, config, inputs, parameters)),
  ); // [T, E]
  return residual(middle, mlpNorms, (normed) => feedForward(g, normed, layer, config, parameters)); // [T, E]
}

/** The attention block of a layer: x `[T, E]` to `[T, E]`. */
function attend(
  g: GraphBuilder,
  x: Value,
  layer: number,
  config: ModelConfig,
  inputs: PackedInputs,
  { weight, linears }: ModelParameters,
): Value {
  const { packedAttention, reshape } = ops(g);
  const { headCount, kvHeadCount, headDim } = config;
  const { queryKeyNorm } = architectures[config.architecture];
  const { window, rotary } = config.layers[layer]!;
  const [q, k, v] = joined(g, x, layer, config, linears, 'qkv_proj', ['q_proj', 'k_proj', 'v_proj']); // [T, H D], [T, G D]
  const heads = (value: Value, count: number) => reshape(value, ['T', count, headDim]); // [T, heads, D]
  const turned = (value: Value, count: number, name: 'q_norm' | 'k_norm') => {
    const norm = (each: Value) => rmsNorm(g, each, weight(`model.layers.${layer}.self_attn.${name}.weight`), config);
    const whole = heads(queryKeyNorm === 'token' ? norm(value) : value, count); // [T, heads, D]
    const normed = queryKeyNorm === 'head' ? norm(whole) : whole; // [T, heads, D]
    return rotary === undefined ? normed : rotate(g, normed, inputs.rotaries[rotary]!); // [T, heads, D]
  };
  // Scaling the queries costs less than scaling the scores.
  const queries = scaled(g, turned(q!, headCount, 'q_norm'), config.attentionScale); // [T, H, D]
  const keys = turned(k!, kvHeadCount, 'k_norm'); // [T, G, D]
  const options = { window, softcap: config.attentionSoftcap };
  const attended = packedAttention(queries, keys, heads(v!, kvHeadCount), inputs.attention, options); // [T, H, D]
  return linears(reshape(attended, ['T', headCount * headDim]), layer, ['o_proj'])[0]!; // [T, E]
}

/** The gated MLP of a layer, or its experts: x `[T, E]` to `[T, E]`. */
function feedForward(
  g: GraphBuilder,
  x: Value,
  layer: number,
  config: ModelConfig,
  { weight, linears, expertLoad }: ModelParameters,
): Value {
  const { add, mul, sigmoid } = ops(g);
  if (config.experts !== undefined) {
    const { added, load } = expertMlp(g, x, layer, config.experts, weight); // [T, E], [experts]
    expertLoad?.(layer, load);
    return added; // [T, E]
  }
  const [gate, up] = joined(g, x, layer, config, linears, 'gate_up_proj', ['gate_proj', 'up_proj']) as [Value, Value]; // [T, F]
  const activations = {
    silu: (y: Value) => mul(y, sigmoid(y)),
    // y (1 + tanh z) / 2 with z = sqrt(2 / pi) (y + 0.044715 y^3), and (1 + tanh z) / 2 = sigmoid(2 z).
    gelu_pytorch_tanh: (y: Value) =>
      mul(y, sigmoid(mul(mul(y, add(mul(mul(y, y), 0.044715), 1)), 2 * Math.sqrt(2 / Math.PI)))),
  };
  const activate = activations[architectures[config.architecture].activation];
  const gated = g.activationCheckpointing('always', () => mul(activate(gate), up)); // [T, F]
  return linears(gated, layer, ['down_proj'])[0]!; // [T, E]
}

/** Linear layers with the same input, which some architectures store as one, `fused`. */
function joined(
  g: GraphBuilder,
  x: Value,
  layer: number,
  config: ModelConfig,
  linears: ModelParameters['linears'],
  fused: LinearModule,
  modules: readonly LinearModule[],
): readonly Value[] {
  if (!architectures[config.architecture].modules.includes(fused)) return linears(x, layer, modules);
  const sizes = modules.map((module) => linearShape(config, module)[0]);
  return ops(g).split(linears(x, layer, [fused])[0]!, 1, sizes);
}

function scaled(g: GraphBuilder, x: Value, factor: number): Value {
  return factor === 1 ? x : ops(g).mul(x, factor);
}

/** x / sqrt(mean(x^2) + epsilon) * (weight + offset), over the last axis. */
function rmsNorm(g: GraphBuilder, x: Value, weight: Value, { architecture, normEpsilon }: ModelConfig): Value {
  const { add, mul, reciprocal, reduceMean, sqrt } = ops(g);
  const { normOffset } = architectures[architecture];
  const inverse = g.activationCheckpointing('never', () =>
    reciprocal(sqrt(add(reduceMean(mul(x, x), [-1]), normEpsilon))),
  ); // [T, 1]
  const factor = normOffset === 0 ? weight : add(weight, normOffset); // [E]
  return g.activationCheckpointing('always', () => mul(mul(x, inverse), factor)); // [T, E]
}

/** Rotary embedding of x `[T, heads, D]`, in Hugging Face's layout: [first half | second half | dimensions that stay]. */
function rotate(g: GraphBuilder, x: Value, { cos, sin }: RotaryInputs): Value {
  const { add, concat, mul, split, sub } = ops(g);
  const half = cos.shape[2] as number;
  const rest = (x.shape[2] as number) - 2 * half;
  const [a, b, ...stays] = split(x, 2, [half, half, ...(rest > 0 ? [rest] : [])]) as [Value, Value, ...Value[]]; // [T, heads, D / 2]
  return concat([sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin)), ...stays], 2); // [T, heads, D]
}

/** Linear layers without an adapter: x `[T, in]` times each weight transposed, plus its bias if it has one. */
export function plainLinears(
  g: GraphBuilder,
  { biases }: ModelConfig,
  weight: ModelParameters['weight'],
): ModelParameters['linears'] {
  return (x, layer, modules) =>
    modules.map((module) => {
      const bias = biases.includes(module) ? { bias: weight(biasName(layer, module)) } : {};
      return ops(g).gemm(x, weight(linearName(layer, module)), { transB: true, ...bias }); // [T, out]
    });
}
