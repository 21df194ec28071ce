import { expect, test } from 'vitest';
import { learningRateAt, type Schedule } from './schedule.ts';

/** The rates of all steps, relative to the peak. */
function rates(schedule: Omit<Schedule, 'learningRate'>): number[] {
  return Array.from(
    { length: schedule.stepCount },
    (_, index) => learningRateAt(index + 1, { ...schedule, learningRate: 3e-4 }) / 3e-4,
  );
}

// The values are those of transformers' schedulers, such as get_linear_schedule_with_warmup; 12 digits allow for rounding.
test.each<[string, Omit<Schedule, 'learningRate'>, number[]]>([
  ['constant', { type: 'constant', warmupSteps: 0, stepCount: 3 }, [1, 1, 1]],
  ['constant after a warm-up', { type: 'constant', warmupSteps: 2, stepCount: 4 }, [0, 0.5, 1, 1]],
  ['linear', { type: 'linear', warmupSteps: 0, stepCount: 4 }, [1, 0.75, 0.5, 0.25]],
  ['linear after a warm-up', { type: 'linear', warmupSteps: 2, stepCount: 6 }, [0, 0.5, 1, 0.75, 0.5, 0.25]],
  ['cosine', { type: 'cosine', warmupSteps: 0, stepCount: 4 }, [1, (2 + Math.SQRT2) / 4, 0.5, (2 - Math.SQRT2) / 4]],
  [
    'cosine after a warm-up',
    { type: 'cosine', warmupSteps: 2, stepCount: 6 },
    [0, 0.5, 1, (2 + Math.SQRT2) / 4, 0.5, (2 - Math.SQRT2) / 4],
  ],
  ['a warm-up that is longer than the training', { type: 'linear', warmupSteps: 8, stepCount: 3 }, [0, 1 / 8, 2 / 8]],
  ['a warm-up of the whole training', { type: 'cosine', warmupSteps: 2, stepCount: 2 }, [0, 0.5]],
])('%s', (_, schedule, wanted) => {
  rates(schedule).forEach((rate, index) => expect(rate, `step ${index + 1}`).toBeCloseTo(wanted[index]!, 12));
});

test('no rate is below 0, even past the end', () => {
  for (const type of ['linear', 'cosine'] as const) {
    for (const step of [11, 12, 1000]) {
      const rate = learningRateAt(step, { type, learningRate: 1, warmupSteps: 0, stepCount: 10 });
      expect(rate).toBeGreaterThanOrEqual(0);
    }
  }
});
