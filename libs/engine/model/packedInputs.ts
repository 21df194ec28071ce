import type { GraphBuilder, Value } from '@pairwise/onnx';
import type { ModelConfig } from './config.ts';
import { groupCount } from './groups.ts';

/** The graph's inputs for one attention block of P trees, padded to L rows each. */
export interface BlockInputs {
  /** Name of the size P. */
  readonly count: string;
  /** Name of the size L. */
  readonly length: string;
  /** The mask of each window that layers have. */
  readonly masks: ReadonlyMap<number | undefined, Value>;
  readonly queryShape: Value;
  readonly keyShape: Value;
  readonly scoreShape: Value;
  readonly weightShape: Value;
}

/** The tables of a rotary embedding: `[T, 1, dim / 2]` each. */
export interface RotaryInputs {
  readonly cos: Value;
  readonly sin: Value;
}

/** The graph's inputs for a packed batch: T rows, N targets, and blocks with Q query cells and K key cells in total. */
export interface PackedInputs {
  readonly tokens: Value;
  readonly rotaries: readonly RotaryInputs[];
  readonly logitRows: Value;
  readonly targets: Value;
  readonly predicted: readonly [Value, Value];
  readonly queryRows: Value;
  readonly queryCells: Value;
  readonly queryBack: Value;
  readonly keyRows: Value;
  readonly keyCells: Value;
  readonly querySizes: Value;
  readonly keySizes: Value;
  readonly blocks: readonly BlockInputs[];
}

/** Declares the inputs that `packTrees` feeds. */
export function packedInputs(g: GraphBuilder, config: ModelConfig): PackedInputs {
  const { headCount, kvHeadCount, rotaries } = config;
  const index = (name: string, shape: (string | number)[]) => g.input(name, 'int32', shape);
  const sizes = (name: string, rank: number) => g.input(name, 'int64', [rank]);
  const table = (name: string, dim: number) => g.input(name, 'float32', ['T', 1, dim / 2]);
  return {
    tokens: index('tokens', ['T']),
    rotaries: rotaries.map(({ dim }, index) => ({ cos: table(`cos_${index}`, dim), sin: table(`sin_${index}`, dim) })),
    logitRows: index('logit_rows', ['N']),
    targets: index('targets', ['N']),
    predicted: [index('predicted_0', ['T']), index('predicted_1', ['T'])],
    queryRows: index('query_rows', ['Q']),
    queryCells: index('query_cells', ['T', headCount]),
    queryBack: index('query_back', ['Q']),
    keyRows: index('key_rows', ['K']),
    keyCells: index('key_cells', ['T', kvHeadCount]),
    querySizes: sizes('query_sizes', groupCount),
    keySizes: sizes('key_sizes', groupCount),
    blocks: Array.from({ length: groupCount }, (_, block) => ({
      count: `P${block}`,
      length: `L${block}`,
      masks: new Map(
        windowsOf(config).map((window) => [
          window,
          g.input(maskName(block, window), 'float32', [`P${block}`, 1, 1, `L${block}`, `L${block}`]),
        ]),
      ),
      queryShape: sizes(`query_shape_${block}`, 4),
      keyShape: sizes(`key_shape_${block}`, 4),
      scoreShape: sizes(`score_shape_${block}`, 5),
      weightShape: sizes(`weight_shape_${block}`, 4),
    })),
  };
}

/** The different windows of a model's layers. */
export function windowsOf({ layers }: ModelConfig): (number | undefined)[] {
  return [...new Set(layers.map(({ window }) => window))];
}

export function maskName(block: number, window: number | undefined): string {
  return `mask_${block}_${window ?? 'all'}`;
}
