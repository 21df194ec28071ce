import { Artifact, ExportTarget } from '@pairwise/api';
import { expect, test } from 'vitest';
import { decidingFigure, ggufTypeOf, mergedTypeOf, resolveTargets } from './exportTargets.ts';

const adapter = { format: { $case: 'adapter' as const, value: {} } };
const gguf = (type: string) => ({ format: { $case: 'gguf' as const, value: { type } } });
const ggufAdapter = (baseType?: string) => ({ format: { $case: 'ggufAdapter' as const, value: { baseType } } });
const merged = (dtype?: string) => ({ format: { $case: 'merged' as const, value: { dtype } } });
const resolve = (...targets: Parameters<typeof ExportTarget.fromPartial>[0][]) =>
  resolveTargets(targets.map(ExportTarget.fromPartial), 'targets');

test('a target without a name is named after its format and type', () => {
  const named = resolve(
    adapter,
    ggufAdapter(),
    ggufAdapter('Q8_0'),
    gguf('Q4_K_M'),
    gguf('IQ4_NL'),
    merged('BF16'),
    merged(),
    {
      ...merged(),
      name: 'whole',
    },
  );
  expect(named.map(({ name }) => name)).toEqual([
    'adapter',
    'gguf-adapter',
    'gguf-adapter-q8-0',
    'gguf-q4-k-m',
    'gguf-iq4-nl',
    'merged-bf16',
    'merged',
    'whole',
  ]);
  expect(resolve(...named)).toEqual(named);
  expect(resolve()).toEqual([]);
});

test.each<[string, Parameters<typeof resolve>]>([
  ['targets', Array.from({ length: 33 }, (_, n) => ({ ...adapter, name: `t${n}` }))],
  ['targets[1]', [adapter, { name: 'x' }]],
  ['targets[0].gguf.type', [gguf('')]],
  ['targets[0].gguf_adapter.base_type', [ggufAdapter('Q8')]],
  ['targets[0].merged.dtype', [merged('Q8_0')]],
  ['targets[0].name', [{ ...adapter, name: '../x' }]],
  ['targets[1].name', [adapter, adapter]],
])('%s is refused', (field, targets) => {
  expect(() => resolve(...targets)).toThrow(expect.objectContaining({ reason: 'INVALID_ARGUMENT', field }) as Error);
});

test('only known types are accepted', () => {
  expect([ggufTypeOf('Q8_0', 'type'), mergedTypeOf('F16', 'type'), mergedTypeOf(undefined, 'type')]).toEqual([
    'Q8_0',
    'F16',
    undefined,
  ]);
  expect(() => ggufTypeOf('Q4_K', 'type')).toThrow("type is 'Q4_K'; it must be one of F32, F16, BF16, Q8_0, Q6_K");
});

test('the KL divergence decides about quantised files, the largest difference about others', () => {
  const verification = { maxAbsLogpDiff: 0.3, meanAbsLogpDiff: 0.02, tolerance: 0.1 };
  const quantizationCost = { policy: { klDivergence: 0.004 } };
  const quantized = Artifact.fromPartial({ verification: { ...verification, quantizationCost } });
  expect(decidingFigure(quantized)).toEqual({ kind: 'KL divergence', nats: 0.004, limit: 0.1 });
  const exact = Artifact.fromPartial({ verification });
  expect(decidingFigure(exact)).toEqual({ kind: 'largest difference', nats: 0.3, limit: 0.1 });
  expect(decidingFigure(Artifact.create({}))).toBeUndefined();
});
