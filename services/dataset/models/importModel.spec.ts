import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { BaseQuantization, ModelState, type ModelSource } from '@pairwise/api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeTinyModel } from '@pairwise/testing';
import { startTestService, type TestService } from '../testing.ts';

// Imports stay queued until `launch`, so that files can change between the request and the import.

let service: TestService;
beforeAll(async () => (service = await startTestService({}, false)));
afterAll(() => service.stop());

test('an import fails if the files changed after the check, and does not happen if the model was deleted', async () => {
  const [changing, deleted] = ['changing', 'deleted'].map((name) => join(service.folder, name));
  for (const folder of [changing!, deleted!]) writeTinyModel(folder, folder);
  const source = (value: string): ModelSource => ({ source: { $case: 'uri', value } });
  const begun = await service.importModel(source(changing!));
  expect(begun).toMatchObject({ state: ModelState.IMPORTING, receivedSizeBytes: 0n });
  const early = service.model.ensureQuantization({ name: begun.name, type: BaseQuantization.NF4 });
  await expect(early).rejects.toMatchObject({ reason: 'WRONG_STATE', field: 'name' });

  const gone = await service.importModel(source(deleted!));
  await service.model.deleteModel({ name: gone.name, requestId: '' });
  appendFileSync(join(changing!, 'config.json'), ' ');
  await service.launch();

  const failed = await service.imported(begun.name);
  expect(failed.state).toBe(ModelState.FAILED);
  expect(failed.error!.message).toContain('changed while');
  const again = await service.importModel(source(changing!));
  expect(again.name).not.toBe(begun.name);
  expect((await service.imported(again.name)).state).toBe(ModelState.READY);
  await expect(service.model.getModel({ name: gone.name })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
});
