import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { reasons } from '@pairwise/errors';
import { ErrorReason, Run, RunState, StageState, TrainingSpec } from './index.ts';
import { boundedFields, commentOf, offences } from './testing.ts';

const root = resolve(import.meta.dirname, '../../..');

test('the reasons of the proto are those of the error class', () => {
  expect(Object.keys(ErrorReason).filter((name) => name !== 'UNSPECIFIED')).toEqual([...reasons]);
});

test('a field that this version does not know is kept, so that it can be refused', () => {
  const bytes = TrainingSpec.encode(TrainingSpec.create({ beta: 0.2 })).finish();
  const unknown = new Uint8Array([...bytes, 0xfa, 0x3f, 0x01, 0x78]);
  expect(TrainingSpec.decode(bytes)._unknownFields ?? {}).toEqual({});
  expect(Object.keys(TrainingSpec.decode(unknown)._unknownFields ?? {})).toHaveLength(1);
});

test('what a newer process has added to a message survives in this one', () => {
  const run = Run.fromPartial({ name: 'x', state: 99 as RunState, stages: [{ name: 'y', state: 98 as StageState }] });
  const bytes = new Uint8Array([...Run.encode(run).finish(), 0xfa, 0x3f, 0x01, 0x78]);
  const known = Run.decode(bytes);
  expect(known.state).toBe(99);
  expect(Buffer.from(Run.encode(known).finish())).toEqual(Buffer.from(bytes));
  const json = Run.toJSON(known) as { state: unknown; stages: { state: unknown }[] };
  expect([json.state, json.stages[0]!.state]).toEqual([99, 98]);
  expect(Run.fromJSON(JSON.parse(JSON.stringify(json)))).toMatchObject({ state: 99, stages: [{ state: 98 }] });
  expect(() => Run.fromJSON({ state: 'RUN_STATE_MISSPELT' })).toThrow('RUN_STATE_MISSPELT');
});

test('every number and every list of a request says its bounds', () => {
  const silent = boundedFields()
    .map((path) => path.at(-1)!)
    .filter(({ enum: type }) => type === undefined)
    .filter((field) => !/\b(from -?\d|above \d|at (least|most) (\d|one))/i.test(commentOf(field).replaceAll('\n', '')));
  expect(silent.map((field) => field.toString())).toEqual([]);
});

// The other services prove in their own specs that they refuse what is out of bounds; so do these once they have any.
test.each(['DiagnosticsService'])('%s has no bounds to prove', (service) => {
  expect(offences(service, {})).toEqual([]);
});

test('buf refuses a proto that lacks a field of the baseline', () => {
  const folder = mkdtempSync(join(tmpdir(), 'proto-'));
  try {
    for (const path of ['buf.yaml', 'proto']) cpSync(join(root, path), join(folder, path), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    const breaking = () =>
      execFileSync(join(root, 'node_modules/.bin/buf'), ['breaking', 'proto', '--against', 'proto/baseline.binpb'], {
        cwd: folder,
        encoding: 'utf8',
      });
    expect(breaking()).toBe('');
    const path = join(folder, 'proto/pairwise/v1/training.proto');
    const text = readFileSync(path, 'utf8');
    const without = text.replace('  optional double beta = 12;\n', '');
    expect(without).not.toBe(text);
    writeFileSync(path, without);
    let report = '';
    try {
      breaking();
    } catch (error) {
      report = String((error as { stdout?: string }).stdout);
    }
    expect(report).toContain('Previously present field "12" with name "beta"');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
