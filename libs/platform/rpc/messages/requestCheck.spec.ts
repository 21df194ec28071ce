import { CreateRunRequest, ImportPairsRequest, ImportPolicy, TruncationMode } from '@pairwise/api';
import { expect, test } from 'vitest';
import { enumCheckOf } from './openEnums.ts';

const createRun = enumCheckOf('/pairwise.v1.OrchestratorService/CreateRun');
const importPairs = enumCheckOf('/pairwise.v1.DatasetService/ImportPairs');
const runWith = (truncationMode: number) =>
  CreateRunRequest.fromPartial({ spec: { training: { truncationMode: truncationMode as TruncationMode } } });
const headerWith = (policy: number) =>
  ImportPairsRequest.fromPartial({ payload: { $case: 'header', value: { policy: policy as ImportPolicy } } });

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
  importPairs(ImportPairsRequest.fromPartial({ payload: { $case: 'chunk', value: Buffer.of(1) } }));
  enumCheckOf('/pairwise.v1.OrchestratorService/GetRun')({ name: 'x' });
});
