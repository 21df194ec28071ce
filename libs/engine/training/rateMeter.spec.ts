import { expect, test } from 'vitest';
import { rateMeter } from './index.ts';

test('the rate is that of all work since the last one, without the first work of the session', () => {
  const meter = rateMeter();
  expect(meter.take()).toBeUndefined();
  meter.add(1, 100);
  expect(meter.take()).toBeUndefined();
  meter.add(6e9, 2);
  meter.add(2e9, 2);
  expect(meter.take()).toBe(2e9);
  meter.add(3e9, 1);
  expect(meter.take()).toBe(3e9);
  expect(meter.take()).toBeUndefined();
});

test('work of less than a second gives no rate, and does not count later', () => {
  const meter = rateMeter();
  meter.add(1, 1);
  meter.add(1e3, 0.9);
  expect(meter.take()).toBeUndefined();
  meter.add(4e9, 2);
  expect(meter.take()).toBe(2e9);
});
