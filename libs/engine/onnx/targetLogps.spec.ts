import { expect, test } from 'vitest';
import { graphBuilder, ops } from './index.ts';
import { lower } from './lower.ts';

test('a graph without a gradient does not compute d logp / d hidden', () => {
  const states = (withGradient: boolean) => {
    const g = graphBuilder('vocabulary');
    const hidden = g.input('hidden', 'float32', ['N', 4]);
    const logps = ops(g).targetLogps(hidden, g.input('head', 'float32', [9, 4]), g.input('targets', 'int32', ['N']));
    g.output('logps', logps);
    if (withGradient) g.output('slope', g.producer(logps)!.outputs[1]!);
    return lower(g.finish()).nodes.find(({ op }) => op === 'Loop')!.outputs.length;
  };
  expect([states(false), states(true)]).toEqual([2, 3]);
});
