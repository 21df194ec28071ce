import {
  frozenWeights,
  linearName,
  loraLinears,
  packedInputs,
  packTrees,
  plainLinears,
  tokenLogps,
  type BaseModel,
  type Feed,
  type LoraSettings,
  type ModelConfig,
  type ModelParameters,
  type TokenTree,
} from '@pairwise/model';
import { graphBuilder, ops, type Graph } from '@pairwise/onnx';
import { planMicroBatches } from './batches.ts';
import { microBatchResults, type RunGraph, type StopCheck } from './microBatches.ts';

const prefix = 'squares/';

/**
 * Inputs: those of `policyGraph`, or of `referenceGraph` without `lora`. Outputs: for each linear layer
 * `squares/<name of its weight>` `[in]`, the sums over all rows of x^2 of its inputs x.
 */
export function importanceGraph(base: BaseModel, lora: LoraSettings | undefined): Graph {
  const g = graphBuilder('importance');
  const { mul, reduceSum } = ops(g);
  const weight = frozenWeights(g, base);
  const { config } = base;
  const linears = lora ? loraLinears(g, config, lora, weight).linears : plainLinears(g, config, weight);
  const measured: ModelParameters['linears'] = (x, layer, modules) => {
    const squares = reduceSum(mul(x, x), [0], { keepDims: false }); // [in]
    for (const module of modules) g.output(`${prefix}${linearName(layer, module)}`, squares);
    return linears(x, layer, modules);
  };
  tokenLogps(g, config, packedInputs(g, config), { weight, linears: measured });
  return g.finish();
}

/**
 * How much each input of each linear layer matters: the mean of its square over the tokens of `trees`, `[in]` by the name of
 * the weight, from an `importanceGraph`. `constants`, such as an adapter, are fed with every micro-batch.
 */
export async function linearImportance(
  run: RunGraph,
  config: ModelConfig,
  trees: readonly TokenTree[],
  constants: Record<string, Feed> = {},
  stopCheck?: StopCheck,
): Promise<Map<string, Float32Array>> {
  const sums = new Map<string, Float64Array>();
  let rows = 0;
  const pack = (part: readonly number[]) =>
    packTrees(
      part.map((index) => trees[index]!),
      config,
    );
  for await (const { packed, results } of microBatchResults(run, planMicroBatches(trees), pack, constants, stopCheck)) {
    rows += packed.tokenCount;
    for (const [name, { data }] of Object.entries(results)) {
      const squares = data as Float32Array;
      const sum = sums.get(name) ?? new Float64Array(squares.length);
      squares.forEach((square, index) => (sum[index]! += square));
      sums.set(name, sum);
    }
  }
  return new Map([...sums].map(([name, sum]) => [name.slice(prefix.length), Float32Array.from(sum, (x) => x / rows)]));
}
