import { CreateRunRequest } from '@pairwise/api';
import { expect, test } from 'vitest';
import { refuseBadStrings } from './strings.ts';

const withUri = (value: string) =>
  CreateRunRequest.fromPartial({ spec: { model: { source: { $case: 'uri', value } } } });

test('strings of 16,384 characters pass, longer ones and those with a NUL are refused by field, at any depth', () => {
  refuseBadStrings(withUri('x'.repeat(16_384)));
  expect(() => refuseBadStrings(withUri('x'.repeat(16_385)))).toThrow(
    expect.objectContaining({
      reason: 'INVALID_ARGUMENT',
      field: 'spec.model.uri',
      message: 'spec.model.uri has 16385 characters; at most 16384 are allowed',
    }),
  );
  expect(() => refuseBadStrings(withUri('a\0b'))).toThrow('spec.model.uri contains a NUL character');
  const targets = CreateRunRequest.fromPartial({ spec: { exportTargets: [{ name: 'a' }, { name: '\0' }] } });
  expect(() => refuseBadStrings(targets)).toThrow(expect.objectContaining({ field: 'spec.export_targets[1].name' }));
  expect(() => refuseBadStrings({ name: '\0' })).toThrow(expect.objectContaining({ field: 'name' }));
});

test('bytes are not strings', () => {
  refuseBadStrings({ payload: { $case: 'chunk', value: new Uint8Array(100_000) } });
});
