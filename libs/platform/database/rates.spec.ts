import { expect, test } from 'vitest';
import { migrate, openDatabase, openRates, rateTable } from './index.ts';
import { testDatabase } from './testing.ts';

test('the rate of a numerics profile follows its measurements smoothly', async () => {
  const database = openDatabase({ url: (await testDatabase()).url, schema: 'things' });
  await migrate(database, [{ id: '0001', sql: rateTable }]);
  const rates = openRates(database);
  expect(await rates.of('cpu')).toBeUndefined();
  await rates.add(database, 'cpu', 1e11);
  expect(await rates.of('cpu')).toBe(1e11);
  await database.transaction((tx) => rates.add(tx, 'cpu', 2e11));
  expect(await rates.of('cpu')).toBeCloseTo(1.3e11, 0);
  await rates.add(database, 'cuda', 3.5e13);
  expect([await rates.of('cpu'), await rates.of('cuda')]).toEqual([expect.closeTo(1.3e11, 0), 3.5e13]);
  await database.close();
});
