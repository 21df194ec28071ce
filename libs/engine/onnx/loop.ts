import { scalar } from './elementwise.ts';
import type { Shape } from './dims.ts';
import type { GraphBuilder, Value } from './graph.ts';

/** A value that each iteration of a loop replaces. It keeps its type. */
export interface LoopState {
  readonly initial: Value;
  /** Its shape when an iteration begins, with a name for each size that changes. @default that of `initial` */
  readonly within?: Shape;
  /** Its shape after the last iteration. @default that of `initial` */
  readonly after?: Shape;
}

/**
 * Runs `body` with the index (int64 scalar) 0, 1, ... `count` - 1 and the state, and returns the last state. `count` is an
 * int64 of one element. The body appends to `inner`, may use values of g, and returns the next state.
 */
export function loop(
  g: GraphBuilder,
  count: Value,
  states: readonly LoopState[],
  body: (inner: GraphBuilder, index: Value, state: readonly Value[]) => readonly Value[],
): readonly Value[] {
  const inner = g.subgraph();
  const index = inner.input('index', 'int64', []);
  const running = inner.input('running', 'bool', []);
  const state = states.map(({ initial, within = initial.shape }, i) =>
    inner.input(`state_${i}`, initial.dtype, within),
  );
  const next = body(inner, index, state);
  inner.output('still_running', running);
  next.forEach((value, i) => inner.output(`next_${i}`, value));
  const types = states.map(({ initial, after = initial.shape }) => ({ dtype: initial.dtype, shape: after }));
  const inputs = [count, scalar(g, 'bool', 1), ...states.map(({ initial }) => initial)];
  return g.node('Loop', inputs, { body: { graph: inner.finish() } }, types);
}
