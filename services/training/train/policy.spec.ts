import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileInfo } from '@pairwise/api';
import { openFolder } from '@pairwise/store';
import { writeTinyModel } from '@pairwise/testing';
import { resolveHyperparameters } from '@pairwise/training';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { names, tinyPeers } from '../testing.peers.ts';
import { openPolicies } from './policy.ts';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'pairwise-policy-'))));
afterAll(() => rmSync(folder, { recursive: true }));

/** Each session has a thread of its own, which communicates through a port. */
const sessionCount = () => process.getActiveResourcesInfo().filter((kind) => kind === 'MessagePort').length;

test('the session for evaluation is opened when something is evaluated, and only once', async () => {
  writeTinyModel(join(folder, 'model'));
  const blobs = await openFolder(join(folder, 'blobs'));
  const peers = await tinyPeers(blobs, join(folder, 'model'));
  const { model } = await peers.model.getModel({ name: names.model });
  const files = model!.files.map((file) => FileInfo.toJSON(file));
  const policies = openPolicies(blobs, { device: 'cpu', threads: 1 });
  const before = sessionCount();
  const policy = await policies.open({ files }, resolveHyperparameters({}, 'spec'));
  expect(sessionCount() - before).toBe(1);
  expect(await policy.evaluation()).toBe(await policy.evaluation());
  expect(sessionCount() - before).toBe(2);
  await policies.close();
  expect(sessionCount()).toBe(before);
});
