import { join } from 'node:path';
import { DatasetServiceService, ModelServiceService } from '@pairwise/api';
import { offences, send } from '@pairwise/api/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeTinyModel } from '@pairwise/testing';
import { jsonl, parent, row, startTestService, type TestService } from './testing.ts';

const name = `${parent}/datasets/limits`;
let service: TestService;

beforeAll(async () => {
  service = await startTestService();
  await service.create('limits');
  await service.upload(name, jsonl(row(1)));
  await service.seal(name);
  writeTinyModel(join(service.folder, 'model'));
  const source = { source: { $case: 'uri' as const, value: `file://${service.folder}/model` } };
  await service.imported((await service.importModel(source, 'limits')).name);
});
afterAll(() => service.stop());

const good = {
  listDatasets: { parent },
  importPairs: { header: { parent: name, importId: 'limits' } },
  listDatasetVersions: { parent: name },
  readPairs: { name: `${name}/versions/1` },
  listImports: { parent: name },
  listEncodings: { parent: `${name}/versions/1` },
  encodeVersion: { name: `${name}/versions/1`, model: `${parent}/models/limits` },
};
test.each(offences('DatasetService', good))('$method rejects $field of $value', async (offence) => {
  const refused = send(service.dataset, DatasetServiceService, offence);
  await expect(refused).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: offence.field });
});

test('a dataset with a thousand unsealed imports accepts no more', async () => {
  const many = (await service.create('many')).name;
  const imports = `from generate_series(1, 1000) as n`;
  await service.database.run(
    `insert into imports (name, parent, document) select $1 || '/imports/' || n, $1, '{}' ${imports}`,
    [many],
  );
  await service.database.run(
    `insert into pending_imports (import, dataset) select $1 || '/imports/' || n, $1 ${imports}`,
    [many],
  );
  const refused = service.upload(many, jsonl(row(1)), { importId: 'more' });
  await expect(refused).rejects.toMatchObject({ reason: 'WRONG_STATE', field: 'header.parent' });
  await expect(service.dataset.getImport({ name: `${many}/imports/more` })).rejects.toMatchObject({
    reason: 'NOT_FOUND',
  });
});

const goodOfModels = { listModels: { parent }, ensureQuantization: { name: `${parent}/models/limits` } };
test.each(offences('ModelService', goodOfModels))('$method rejects $field of $value', async (offence) => {
  const refused = send(service.model, ModelServiceService, offence);
  await expect(refused).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: offence.field });
});
