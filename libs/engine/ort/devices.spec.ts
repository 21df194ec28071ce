import { totalmem } from 'node:os';
import { expect, test, vi } from 'vitest';
import { computeDtype, deviceMemoryBytes, numericsProfile, parseDevice } from './index.ts';

test('devices are parsed by name; anything else is refused', () => {
  expect(['cpu', 'webgpu', 'cuda', 'cuda:3'].map(parseDevice)).toEqual(['cpu', 'webgpu', 'cuda:0', 'cuda:3']);
  for (const text of ['', 'gpu', 'cuda:', 'cuda:-1', 'cuda:1.5', 'CPU', 'cuda:0 ']) {
    const refused = expect.objectContaining({ reason: 'INVALID_ARGUMENT' }) as Error;
    expect(() => parseDevice(text), text).toThrow(refused);
  }
});

test('the numerics profile differs exactly where the last bits may differ', () => {
  const profiles = [
    numericsProfile('cpu'),
    numericsProfile('cpu', 'float16'),
    numericsProfile('webgpu'),
    numericsProfile('cuda:0'),
  ];
  expect(new Set(profiles).size).toBe(profiles.length);
  expect(profiles.map(computeDtype)).toEqual(['float32', 'float16', 'float32', 'float32']);
  // It does not matter which card of a machine it was.
  expect(numericsProfile('cuda:1')).toBe(numericsProfile('cuda:0'));
  expect(numericsProfile('cpu')).toMatch(
    new RegExp(`^cpu/${process.arch}(-avx\\w*)?/onnxruntime-\\d+\\.\\d+\\.\\d+/float32$`),
  );
});

test('the CPU has the memory of the machine or the limit of the process; the memory of other devices is unknown', () => {
  const memoryUnder = (limit: number) => {
    const constrained = vi.spyOn(process, 'constrainedMemory').mockReturnValue(limit);
    const bytes = deviceMemoryBytes('cpu');
    constrained.mockRestore();
    return bytes;
  };
  expect(memoryUnder(0)).toBe(totalmem());
  expect(memoryUnder(2 ** 63)).toBe(totalmem());
  expect(memoryUnder(50e6)).toBe(50e6);
  expect(deviceMemoryBytes('cuda:0')).toBeUndefined();
  expect(deviceMemoryBytes('webgpu')).toBeUndefined();
});
