import type { AttentionRows, GraphBuilder, Value } from '@pairwise/onnx';
import type { ModelConfig } from './config.ts';

/** The tables of a rotary embedding: `[T, 1, dim / 2]` each. */
export interface RotaryInputs {
  readonly cos: Value;
  readonly sin: Value;
}

/** The graph's inputs for a packed batch: T rows and N targets. */
export interface PackedInputs {
  readonly tokens: Value;
  readonly rotaries: readonly RotaryInputs[];
  readonly logitRows: Value;
  readonly targets: Value;
  readonly predicted: readonly [Value, Value];
  readonly attention: AttentionRows;
}

/** Declares the inputs that `packTrees` feeds. */
export function packedInputs(g: GraphBuilder, { rotaries }: ModelConfig): PackedInputs {
  const index = (name: string, shape: (string | number)[]) => g.input(name, 'int32', shape);
  const table = (name: string, dim: number) => g.input(name, 'float32', ['T', 1, dim / 2]);
  return {
    tokens: index('tokens', ['T']),
    rotaries: rotaries.map(({ dim }, i) => ({ cos: table(`cos_${i}`, dim), sin: table(`sin_${i}`, dim) })),
    logitRows: index('logit_rows', ['N']),
    targets: index('targets', ['N']),
    predicted: [index('predicted_0', ['T']), index('predicted_1', ['T'])],
    attention: {
      positions: index('positions', ['T']),
      branches: index('branches', ['T']),
      prefixes: index('prefixes', ['T']),
      chunks: g.input('chunks', 'int64', ['M', 4]),
    },
  };
}
