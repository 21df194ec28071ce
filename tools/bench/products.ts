/*
 * The matrix products that a training step or a reference pass cannot do without, in float32 and alone: those of the frozen
 * weights, of the adapter and of the vocabulary. Attention's products are left out.
 */
import { expectedTensors, linearName, type LinearModule, type ModelConfig } from '@pairwise/model';
import { graphBuilder, headChunkRows, ops, type Graph, type Value } from '@pairwise/onnx';
import { openSession, sharedTensor, type Tensor } from '@pairwise/ort';

/** The rows of a micro-batch that go through the layers (T), and those whose logits are computed (N). */
export interface Rows {
  T: number;
  N: number;
}

/** The linear layers of a Llama, grouped by their input. */
const inputGroups: readonly (readonly [LinearModule, ...LinearModule[]])[] = [
  ['q_proj', 'k_proj', 'v_proj'],
  ['o_proj'],
  ['gate_proj', 'up_proj'],
  ['down_proj'],
];

/**
 * Weights are fed from as many copies in turn, so that none is still in the processor's cache when it is used again, as in a
 * model with many layers.
 */
const copies = 4;

/** Declares the factors of products as inputs, and returns one number of each product, so that none can be left out. */
function productsGraph(
  declare: (input: (name: string, rows: string | number, columns: number) => Value, of: Products) => Value[],
): Graph {
  const g = graphBuilder('products');
  const { concat, gather, gemm } = ops(g);
  const first = g.constant('int32', [1], [0]);
  const products = declare((name, rows, columns) => g.input(name, 'float32', [rows, columns]), gemm);
  const numbers = products.map((product) => gather(gather(product, first, 0), first, 1)); // [1, 1] each
  g.output('numbers', concat(numbers, 0));
  return g.finish();
}

type Products = ReturnType<typeof ops>['gemm'];

/** The products of one layer: forward, and with an adapter of rank r also backward. */
export function layerProducts(config: ModelConfig, r: number | undefined): Graph {
  const tensors = expectedTensors(config);
  return productsGraph((input, gemm) =>
    inputGroups.flatMap((modules) => {
      const [group] = modules;
      const width = tensors.get(linearName(0, group))![1]!;
      const x = input(`x/${group}`, 'T', width);
      const base = modules.map((module) => {
        const outputs = tensors.get(linearName(0, module))![0]!;
        const w = input(`w/${module}`, outputs, width);
        return { module, outputs, w, y: gemm(x, w, { transB: true }) }; // [T, out]
      });
      if (r === undefined) return base.map(({ y }) => y);
      const a = input(`a/${group}`, modules.length * r, width);
      const dNarrow = input(`d_narrow/${group}`, 'T', modules.length * r);
      const ofGroup = [
        gemm(x, a, { transB: true }), // [T, modules r]
        gemm(dNarrow, x, { transA: true }), // dA: [modules r, in]
        gemm(dNarrow, a), // [T, in]
      ];
      const ofModules = base.flatMap(({ module, outputs, w, y }) => {
        const [narrow, dy] = [input(`narrow/${module}`, 'T', r), input(`dy/${module}`, 'T', outputs)];
        const b = input(`b/${module}`, outputs, r);
        return [
          gemm(narrow, b, { transB: true, bias: y }), // [T, out]
          gemm(dy, w), // [T, in]
          gemm(dy, b), // [T, r]
          gemm(dy, narrow, { transA: true }), // dB: [out, r]
        ];
      });
      return [...ofGroup, ...ofModules];
    }),
  );
}

/** The products of some rows of the vocabulary. */
function vocabularyProducts({ hiddenSize }: ModelConfig, isTraining: boolean): Graph {
  return productsGraph((input, gemm) => {
    const [hidden, head] = [input('hidden', 'N', hiddenSize), input('head', 'C', hiddenSize)];
    const logits = gemm(hidden, head, { transB: true }); // [N, C]
    return isTraining ? [logits, gemm(logits, head)] : [logits]; // and [N, E]
  });
}

/** Random feeds for a graph, up to the largest sizes. The copies are on memory of their own. */
function randomFeeds({ inputs }: Graph, largest: Readonly<Record<string, number>>) {
  const dimsOf = ({ shape }: Value, sizes: Readonly<Record<string, number>>) =>
    shape.map((dim) => (typeof dim === 'number' ? dim : sizes[dim]!));
  const random = Float32Array.from({ length: 2 ** 20 }, () => Math.random() - 0.5);
  const filled = (input: Value) => {
    const { data } = sharedTensor('float32', dimsOf(input, largest));
    for (let at = 0; at < data.length; at += random.length) data.set(random.subarray(0, data.length - at), at);
    return data;
  };
  const sets = Array.from({ length: copies }, () => inputs.map(filled));
  return (copy: number, sizes: Readonly<Record<string, number>>): Record<string, Tensor> =>
    Object.fromEntries(
      inputs.map((input, index) => {
        const dims = dimsOf(input, sizes);
        const length = dims.reduce((product, size) => product * size, 1);
        return [input.name, { dtype: 'float32', dims, data: sets[copy % copies]![index]!.subarray(0, length) }];
      }),
    );
}

/**
 * Returns what computes the products of micro-batches: forward, and with an adapter of rank r also backward. The first layer's
 * input needs no gradient; computing it all the same takes less than 1 % of the time.
 */
export async function openProducts(
  config: ModelConfig,
  r: number | undefined,
  microBatches: readonly Rows[],
  threads: number,
): Promise<() => Promise<void>> {
  const largest = {
    T: Math.max(...microBatches.map(({ T }) => T)),
    N: Math.max(...microBatches.map(({ N }) => N)),
    C: headChunkRows,
  };
  const open = async (graph: Graph) => ({
    session: await openSession({ graph, threads }),
    feeds: randomFeeds(graph, largest),
  });
  const layer = await open(layerProducts(config, r));
  const vocabulary = await open(vocabularyProducts(config, r !== undefined));
  return async () => {
    for (const rows of microBatches) {
      for (let index = 0; index < config.layerCount; index++) {
        await layer.session.run(layer.feeds(index, { ...rows }));
      }
      for (let from = 0, chunk = 0; from < config.vocabularySize; from += headChunkRows, chunk++) {
        const C = Math.min(headChunkRows, config.vocabularySize - from);
        await vocabulary.session.run(vocabulary.feeds(chunk, { ...rows, C }));
      }
    }
    await layer.session.close();
    await vocabulary.session.close();
  };
}
