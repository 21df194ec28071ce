import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { Status } from '@pairwise/api';
import { PairwiseError, reasons } from '@pairwise/errors';
import { expect, test } from 'vitest';
import { errorOf, refuseUnknownFields, statusCodeOf, statusOf } from '../index.ts';
import { toTrailers } from './failures.ts';

test('the table of codes matches the comments in the proto', () => {
  const proto = readFileSync(join(import.meta.dirname, '../../../../proto/pairwise/v1/errors.proto'), 'utf8');
  const documented = [...proto.matchAll(/([A-Z_]+)\.\n {2}ERROR_REASON_([A-Z_]+) = \d+;/g)];
  expect(Object.fromEntries(documented.map(([, code, reason]) => [reason, code]))).toEqual(
    Object.fromEntries(reasons.map((reason) => [reason, status[statusCodeOf[reason]]])),
  );
});

test.each(reasons)('%s reaches the caller intact', (reason) => {
  const error = new PairwiseError(reason, 'message', { field: 'spec.training.beta', metadata: { line: '7' } });
  const { message, field, metadata, reason: got } = errorOf(Status.decode(Status.encode(statusOf(error)).finish()));
  expect({ message, field, metadata, got }).toEqual({
    message: 'message',
    field: 'spec.training.beta',
    metadata: { line: '7' },
    got: reason,
  });
});

test('the kinds of details match the code', () => {
  const kinds = (error: PairwiseError) => statusOf(error).details.map(({ typeUrl }) => typeUrl.split('.').at(-1));
  expect(kinds(new PairwiseError('INVALID_PAIR', ''))).toEqual(['ErrorInfo']);
  expect(kinds(new PairwiseError('INVALID_ARGUMENT', '', { field: 'x' }))).toEqual(['ErrorInfo', 'BadRequest']);
  expect(kinds(new PairwiseError('IN_USE', ''))).toEqual(['ErrorInfo', 'PreconditionFailure']);
  expect(kinds(new PairwiseError('UNAVAILABLE', ''))).toEqual(['ErrorInfo', 'RetryInfo']);
  const missing = new PairwiseError('NOT_FOUND', '', { metadata: { name: 'projects/default/runs/a' } });
  expect(kinds(missing)).toEqual(['ErrorInfo', 'ResourceInfo']);
});

test('details stay under 4 KiB, whatever the error contains', () => {
  const long = 'ä'.repeat(5000);
  const metadata = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`key${index}`, long]));
  const error = new PairwiseError('WRONG_STATE', long, {
    field: long.slice(0, 200),
    metadata: { ...metadata, name: 'x' },
  });
  const [bytes] = toTrailers(error).metadata.get('grpc-status-details-bin');
  expect((bytes as Buffer).length).toBeGreaterThan(1000);
  expect((bytes as Buffer).length).toBeLessThanOrEqual(4096);
  expect(errorOf(Status.decode(bytes as Buffer))).toMatchObject({ reason: 'WRONG_STATE', metadata: { name: 'x' } });
});

test('a status of another system, or with broken details, still has a reason', () => {
  expect(errorOf(Status.create({ code: 5, message: 'm' }))).toMatchObject({ reason: 'NOT_FOUND', message: 'm' });
  expect(errorOf(Status.create({ code: 99 })).reason).toBe('INTERNAL');
  const broken = { typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo', value: Buffer.from([0xff, 0xff]) };
  expect(errorOf(Status.create({ code: 3, details: [broken] })).reason).toBe('INVALID_ARGUMENT');
  expect(errorOf(undefined).reason).toBe('INTERNAL');
});

test('unknown fields are refused at any depth, with path and number', () => {
  const unknown = { _unknownFields: { [(1234 << 3) | 2]: [new Uint8Array()] } };
  const refusal = (message: unknown) => {
    try {
      refuseUnknownFields(message, 'spec');
    } catch (error) {
      return error;
    }
    return undefined;
  };
  expect(
    refusal({ a: 1, date: new Date(), bytes: new Uint8Array(2), list: [{ _unknownFields: {} }], none: undefined }),
  ).toBe(undefined);
  expect(refusal({ ...unknown })).toMatchObject({
    reason: 'UNKNOWN_FIELD',
    field: 'spec',
    metadata: { fieldNumber: '1234' },
  });
  expect(refusal({ exportTargets: [{}, { target: { $case: 'ggufFile', value: unknown } }] })).toMatchObject({
    field: 'spec.export_targets[1].gguf_file',
  });
  expect(refusal({ training: { tuning: { $case: 'lora', value: { deep: { er: unknown } } } } })).toMatchObject({
    field: 'spec.training.lora.deep.er',
  });
});
