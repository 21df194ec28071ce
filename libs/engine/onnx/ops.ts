import { dequantizeInt8, dequantizeNf4 } from './dequantize.ts';
import * as elementwise from './elementwise.ts';
import * as gather from './gather.ts';
import type { GraphBuilder } from './graph.ts';
import * as linear from './linear.ts';
import * as loop from './loop.ts';
import * as packedAttention from './packedAttention.ts';
import * as reduce from './reduce.ts';
import * as reshape from './reshape.ts';
import * as targetLogps from './targetLogps.ts';

const operators = {
  ...elementwise,
  ...linear,
  ...reduce,
  ...reshape,
  ...gather,
  ...loop,
  ...packedAttention,
  ...targetLogps,
  dequantizeInt8,
  dequantizeNf4,
};

type WithoutBuilder<Operator> = Operator extends (g: GraphBuilder, ...rest: infer Rest) => infer Result
  ? (...rest: Rest) => Result
  : never;

/** Every operator as a function that appends to one graph. */
export type Ops = { readonly [Name in keyof typeof operators]: WithoutBuilder<(typeof operators)[Name]> };

/** Kept on the graph itself: in a WeakMap, finished graphs outlive most garbage collections. */
const bound = Symbol('bound operators');

/**
 * The operators, bound to the graph that they append to; bound once for each graph.
 * @example
 * const { mul, sigmoid } = ops(g);
 * const swish = mul(gate, sigmoid(gate));
 */
export function ops(g: GraphBuilder & { [bound]?: Ops | undefined }): Ops {
  return (g[bound] ??= bind(g));
}

function bind(g: GraphBuilder): Ops {
  const entries = Object.entries(operators as Record<string, (...parameters: unknown[]) => unknown>);
  return Object.fromEntries(entries.map(([name, operator]) => [name, operator.bind(undefined, g)])) as Ops;
}
