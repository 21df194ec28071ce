import type { GraphBuilder, Value } from '@pairwise/onnx';
import type { ModelConfig } from './config.ts';
import { groupCount } from './groups.ts';

/** The graph's inputs for one attention block of P trees, padded to L rows each. */
export interface BlockInputs {
  /** Name of the size P. */
  readonly count: string;
  /** Name of the size L. */
  readonly length: string;
  readonly mask: Value;
  readonly queryShape: Value;
  readonly keyShape: Value;
  readonly scoreShape: Value;
  readonly weightShape: Value;
}

/** The graph's inputs for a packed batch: T rows, N targets, and blocks with Q query cells and K key cells in total. */
export interface PackedInputs {
  readonly tokens: Value;
  readonly cos: Value;
  readonly sin: Value;
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
export function packedInputs(g: GraphBuilder, { headCount, kvHeadCount, headDim }: ModelConfig): PackedInputs {
  const index = (name: string, shape: (string | number)[]) => g.input(name, 'int32', shape);
  const sizes = (name: string, rank: number) => g.input(name, 'int64', [rank]);
  const table = (name: string) => g.input(name, 'float32', ['T', 1, headDim / 2]);
  return {
    tokens: index('tokens', ['T']),
    cos: table('cos'),
    sin: table('sin'),
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
      mask: g.input(`mask_${block}`, 'float32', [`P${block}`, 1, 1, `L${block}`, `L${block}`]),
      queryShape: sizes(`query_shape_${block}`, 4),
      keyShape: sizes(`key_shape_${block}`, 4),
      scoreShape: sizes(`score_shape_${block}`, 5),
      weightShape: sizes(`weight_shape_${block}`, 4),
    })),
  };
}
