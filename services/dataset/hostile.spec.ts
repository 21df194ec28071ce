import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ChatTemplateMode, ModelState, TruncationMode, type ModelSource } from '@pairwise/api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endlessOnLongTexts, endlessTemplate, hostileTokenizers } from '@pairwise/tokenizer/testing';
import { writeTinyModel } from '@pairwise/testing';
import { jsonl, parent, startTestService, type TestService } from './testing.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service.stop());

let count = 0;

/** Writes the tiny model to a new folder, with changes to tokenizer.json and with a chat template. */
function folderWith(change: object, chatTemplate = ''): ModelSource {
  const folder = join(service.folder, `model-${count++}`);
  writeTinyModel(folder, folder);
  const path = join(folder, 'tokenizer.json');
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...change }));
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ bos_token: '<s>', eos_token: '</s>' }));
  writeFileSync(join(folder, 'chat_template.jinja'), chatTemplate);
  return { source: { $case: 'uri', value: folder } };
}

/** The pids of the tokenizer processes that are running now. */
function tokenizers(): number[] {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean);
  const programs = children.map((pid) => [Number(pid), readFileSync(`/proc/${pid}/cmdline`, 'utf8')] as const);
  return programs.flatMap(([pid, program]) => (program.includes('tokenizer/child') ? [pid] : []));
}

test.each(Object.entries(hostileTokenizers))('%s is an obstacle, and the service still answers', async (_, change) => {
  const source = folderWith(change);
  const inspection = service.model.inspectModel({ parent, source });
  while (tokenizers().length === 0) await sleep(1);
  await service.dataset.listDatasets({ parent, pageSize: 0, pageToken: '' });
  const { supported, obstacles } = await inspection;
  expect(supported).toBe(false);
  expect(obstacles.map(({ message }) => message)).toEqual([expect.stringContaining('tokenizer.json crashes')]);
  await expect(service.importModel(source)).rejects.toMatchObject({ reason: 'INVALID_MODEL' });
  expect(tokenizers()).toEqual([]);
});

test('an endless chat template is an obstacle, and the service answers other calls meanwhile', async () => {
  let inspecting = true;
  const request = { parent, source: folderWith({}, endlessTemplate) };
  const inspection = service.model.inspectModel(request).finally(() => (inspecting = false));
  while (tokenizers().length === 0) await sleep(1);
  await service.dataset.listDatasets({ parent, pageSize: 0, pageToken: '' });
  expect(inspecting).toBe(true);
  const { supported, obstacles } = await inspection;
  expect(supported).toBe(false);
  expect(obstacles.map(({ message }) => message)).toEqual([expect.stringContaining('chat_template takes more than')]);
  expect(tokenizers()).toEqual([]);
});

test('models are checked one at a time, to limit the memory of their tokenizers', async () => {
  const source = folderWith(hostileTokenizers['a text that keeps growing']!);
  let [inspecting, most] = [true, 0];
  const inspections = Array.from({ length: 3 }, () => service.model.inspectModel({ parent, source }));
  const all = Promise.all(inspections).finally(() => (inspecting = false));
  while (inspecting) {
    most = Math.max(most, tokenizers().length);
    await sleep(1);
  }
  expect((await all).map(({ supported }) => supported)).toEqual([false, false, false]);
  expect(most).toBe(1);
});

describe('encoding', () => {
  const cut = {
    maxLength: undefined,
    truncationMode: TruncationMode.UNSPECIFIED,
    chatTemplate: ChatTemplateMode.UNSPECIFIED,
    chatTemplateDate: '',
  };

  async function imported(source: ModelSource): Promise<string> {
    const model = await service.imported((await service.importModel(source)).name);
    expect(model.state).toBe(ModelState.READY);
    return model.name;
  }

  async function sealed(id: string, ...rows: unknown[]): Promise<string> {
    const { name } = await service.create(id);
    await service.upload(name, jsonl(...rows));
    return (await service.seal(name)).name;
  }

  test('a pair that crashes the tokenizer makes the call fail with the reason, without a retry', async () => {
    const model = await imported(folderWith(endlessOnLongTexts));
    const name = await sealed('long', { prompt: 'why? '.repeat(10), chosen: ' yes', rejected: ' no' });
    const encoding = service.dataset.encodeVersion({ name, model, ...cut });
    await expect(encoding).rejects.toMatchObject({ reason: 'INVALID_MODEL', field: 'tokenizer.json' });
    await expect(encoding).rejects.toThrow('retry-limit-in-match over');
    expect(tokenizers()).toEqual([]);
  });

  test('cancelling the last call for an encoding ends the process of its tokenizer', async () => {
    // Endless only for a long conversation, so that the model can be imported.
    const model = await imported(folderWith({}, `{% if messages | length > 3 %}${endlessTemplate}{% endif %}x`));
    const message = (role: string, content: string) => [{ role, content }];
    const name = await sealed('chat', {
      prompt: [...message('user', 'why?'), ...message('assistant', 'so'), ...message('user', 'why?')],
      chosen: message('assistant', 'yes'),
      rejected: message('assistant', 'no'),
    });
    const request = { name, model, ...cut };
    const [first, second] = [new AbortController(), new AbortController()];
    const one = service.dataset.encodeVersion(request, { signal: first.signal });
    const other = service.dataset.encodeVersion(request, { signal: second.signal });
    const failures = Promise.allSettled([one, other]);
    while (tokenizers().length === 0) await sleep(1);
    const [pid] = tokenizers();
    first.abort();
    await expect(one).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(tokenizers()).toEqual([pid]);
    second.abort();
    await expect(other).rejects.toMatchObject({ reason: 'CANCELLED' });
    while (tokenizers().length > 0) await sleep(1);
    await failures;
    await service.dataset.listDatasets({ parent, pageSize: 0, pageToken: '' });
  });

  test('a killed tokenizer process is restarted', async () => {
    const model = await imported(folderWith({}));
    const row = (number: number) => ({ prompt: `why ${number}?`, chosen: ' yes '.repeat(80), rejected: ' no' });
    const name = await sealed('killed', ...Array.from({ length: 2000 }, (_, index) => row(index)));
    const encoding = service.dataset.encodeVersion({ name, model, ...cut });
    while (tokenizers().length === 0) await sleep(1);
    process.kill(tokenizers()[0]!, 'SIGKILL');
    expect((await encoding).encoding!.pairCount).toBe(2000);
  });
});
