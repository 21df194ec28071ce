import { CreateRunRequest, ImportPairsRequest, ImportPolicy, TruncationMode } from '@pairwise/api';
import { expect, test } from 'vitest';
import { requestCheckOf } from './requestCheck.ts';

const createRun = requestCheckOf('/pairwise.v1.OrchestratorService/CreateRun');
const importPairs = requestCheckOf('/pairwise.v1.DatasetService/ImportPairs');
const runWith = (truncationMode: number) =>
  CreateRunRequest.fromPartial({ spec: { training: { truncationMode: truncationMode as TruncationMode } } });
const headerWith = (policy: number) =>
  ImportPairsRequest.fromPartial({ payload: { $case: 'header', value: { policy: policy as ImportPolicy } } });
const withUri = (value: string) =>
  CreateRunRequest.fromPartial({ spec: { model: { source: { $case: 'uri', value } } } });

test('a number that is not in the enum is refused by the name of its field', () => {
  const known = '0 (UNSPECIFIED), 1 (REFUSE), 2 (KEEP_START), 3 (KEEP_END)';
  expect(() => createRun(runWith(77))).toThrow(
    expect.objectContaining({
      reason: 'INVALID_ARGUMENT',
      field: 'spec.training.truncation_mode',
      message: `spec.training.truncation_mode is 77, which this server does not know; it knows ${known}`,
    }),
  );
  expect(() => importPairs(headerWith(-1))).toThrow(expect.objectContaining({ field: 'header.policy' }));
});

test('known values, unset messages and other cases of a oneof pass', () => {
  createRun(runWith(TruncationMode.KEEP_END));
  createRun(CreateRunRequest.create());
  importPairs(headerWith(ImportPolicy.SKIP));
  requestCheckOf('/pairwise.v1.OrchestratorService/GetRun')({ name: 'x' });
});

test('strings of 16,384 characters pass, longer ones and those with a NUL are refused by field, at any depth', () => {
  createRun(withUri('x'.repeat(16_384)));
  expect(() => createRun(withUri('x'.repeat(16_385)))).toThrow(
    expect.objectContaining({
      reason: 'INVALID_ARGUMENT',
      field: 'spec.model.uri',
      message: 'spec.model.uri has 16385 characters; at most 16384 are allowed',
    }),
  );
  expect(() => createRun(withUri('a\0b'))).toThrow('spec.model.uri contains a NUL character');
  const targets = CreateRunRequest.fromPartial({ spec: { exportTargets: [{ name: 'a' }, { name: '\0' }] } });
  expect(() => createRun(targets)).toThrow(expect.objectContaining({ field: 'spec.export_targets[1].name' }));
  expect(() => createRun({ parent: '\0' })).toThrow(expect.objectContaining({ field: 'parent' }));
});

test('bytes are not strings', () => {
  importPairs(ImportPairsRequest.fromPartial({ payload: { $case: 'chunk', value: Buffer.alloc(100_000) } }));
});
