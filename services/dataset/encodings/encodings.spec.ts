import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ChatTemplateMode, ImportPolicy, TruncationMode, type ModelSource } from '@pairwise/api';
import { parseDigest } from '@pairwise/fingerprint';
import { unpackPairs } from '@pairwise/preference';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestService, type TestService } from '../testing.ts';

const uri = (value: string): ModelSource => ({ source: { $case: 'uri', value } });

/** Writes the tiny model to a new folder; its config.json contains `name`. */
function tiny(name: string): string {
  const folder = join(service.folder, name);
  writeTinyModel(folder, name);
  return folder;
}

let service: TestService;
const cut = {
  maxLength: undefined,
  truncationMode: TruncationMode.UNSPECIFIED,
  chatTemplate: ChatTemplateMode.UNSPECIFIED,
  chatTemplateDate: '',
};
let version: string;
let model: string;

beforeAll(async () => {
  service = await startTestService();
  const { name } = await service.create('encoded');
  await service.upload(name, tinyPairs(2100));
  version = (await service.seal(name)).name;
  ({ name: model } = await service.imported((await service.importModel(uri(tiny('encoder')))).name));
});
afterAll(() => service.stop());

test('a version is encoded in shards, once per tokenizer and limits', async () => {
  const request = { name: version, model, ...cut };
  const made = await Promise.all([1, 2, 3].map(() => service.dataset.encodeVersion(request)));
  const [encoding] = made.map((each) => each.encoding!);
  expect(new Set(made.map((each) => each.encoding!.name)).size).toBe(1);
  const truncationMode = TruncationMode.REFUSE;
  expect(encoding).toMatchObject({ pairCount: 2100, maxLength: 512, truncationMode, hasChatTemplate: false });
  expect(encoding!.shardDigests.length).toBe(3);
  const shards = await Promise.all(encoding!.shardDigests.map((each) => service.blobs.get(parseDigest(each))));
  const pairs = shards.flatMap((shard) => unpackPairs(shard));
  const digests = [];
  for await (const { pair } of service.dataset.readPairs({ name: version, offset: 0, limit: 0 })) {
    digests.push(pair!.digest);
  }
  expect(pairs.map(({ pairDigest }) => pairDigest)).toEqual(digests);
  // This model's tokens are bytes, with a BOS before and an EOS after them.
  expect(pairs[0]!.prompt[0]).toBe(256);
  expect(pairs[0]!.chosen.at(-1)).toBe(257);
  expect((await service.dataset.getEncoding({ name: encoding!.name })).encoding).toEqual(encoding);
});

test('only what determines the token ids makes another encoding', async () => {
  const name = async (change: object) => {
    const { encoding } = await service.dataset.encodeVersion({ name: version, model, ...cut, ...change });
    return encoding!.name;
  };
  const same = tiny('same-tokenizer');
  cpSync(join(service.folder, 'encoder'), same, { recursive: true });
  const { name: twin } = await service.imported((await service.importModel(uri(same))).name);
  const base = await name({});
  expect(await name({ model: twin })).toBe(base);
  expect(await name({ maxLength: 512 })).toBe(base);
  expect(await name({ maxLength: 100 })).not.toBe(base);
  expect(await name({ truncationMode: TruncationMode.KEEP_START })).not.toBe(base);
  expect(await name({ chatTemplate: ChatTemplateMode.NONE })).not.toBe(base);
  expect(await name({ chatTemplateDate: '2026-01-01' })).not.toBe(base);
  const { encodings } = await service.dataset.listEncodings({ parent: version, pageSize: 0, pageToken: '' });
  expect(encodings.map((each) => each.name)).toContain(base);
  expect(new Set(encodings.map((each) => each.fingerprint)).size).toBe(encodings.length);
});

test('pairs that cannot be kept are counted, and it is an error if no pair can', async () => {
  const some = await service.dataset.encodeVersion({ name: version, model, ...cut, maxLength: 40 });
  const { pairCount, report } = some.encoding!;
  expect(pairCount + report!.refusedCount).toBe(2100);
  expect(report!.refused.map(({ reason }) => reason)).toEqual(['TOO_LONG']);
  expect(report!.refused[0]!.firstProblem).toMatch(/have \d+ tokens, but the limit is 40/);
  expect(some.encoding!.remedy).toContain('raise max_length (now 40; the model supports 512)');
  const none = service.dataset.encodeVersion({ name: version, model, ...cut, maxLength: 3 });
  await expect(none).rejects.toMatchObject({ reason: 'EMPTY_DATASET', metadata: { PROMPT_TOO_LONG: '2100' } });
  await expect(none).rejects.toThrow(
    /^none of the .*the first is pair 1: the prompt has \d+ tokens.* raise max_length/,
  );
});

test.each([0, 1, 513])('max_length %i is rejected', async (maxLength) => {
  const call = service.dataset.encodeVersion({ name: version, model, ...cut, maxLength });
  await expect(call).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'max_length' });
});

test('pairs of texts become conversations unless the chat template must not be applied', async () => {
  const folder = tiny('templated');
  const template = '{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}';
  writeFileSync(join(folder, 'chat_template.jinja'), `{{ bos_token }}${template}`);
  const { name: templated } = await service.imported((await service.importModel(uri(folder))).name);
  const encode = async (chatTemplate: ChatTemplateMode) =>
    (await service.dataset.encodeVersion({ name: version, model: templated, ...cut, chatTemplate })).encoding!;
  const applied = await encode(ChatTemplateMode.UNSPECIFIED);
  expect(applied).toMatchObject({ chatTemplate: ChatTemplateMode.AUTO, chatTemplateDate: '2024-07-26' });
  expect(applied.conversationCount).toBe(applied.pairCount);
  expect(applied.hasChatTemplate).toBe(true);
  const [first] = unpackPairs(await service.blobs.get(parseDigest(applied.shardDigests[0]!)));
  expect(Buffer.from(first!.prompt.subarray(1, 7)).toString()).toBe('[user]');
  expect((await encode(ChatTemplateMode.NONE)).conversationCount).toBe(0);
});

test.each(['2026-02-31', 'today'])('chat_template_date %s is rejected', async (chatTemplateDate) => {
  const call = service.dataset.encodeVersion({ name: version, model, ...cut, chatTemplateDate });
  await expect(call).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'chat_template_date' });
});

test('messages require a chat template', async () => {
  const { name } = await service.create('messages');
  const one = (role: string, content: string) => [{ role, content }];
  const pair = { prompt: one('user', 'a'), chosen: one('assistant', 'b'), rejected: one('assistant', 'c') };
  await service.upload(name, JSON.stringify([pair]), { policy: ImportPolicy.STRICT });
  const call = service.dataset.encodeVersion({ name: (await service.seal(name)).name, model, ...cut });
  await expect(call).rejects.toMatchObject({ reason: 'UNSUPPORTED_CONFIG', field: 'chat_template' });
});

test('an encoding outlives its dataset', async () => {
  const { encoding } = await service.dataset.encodeVersion({ name: version, model, ...cut });
  const name = version.slice(0, version.indexOf('/versions/'));
  await service.dataset.deleteDataset({ name, etag: '', requestId: '' });
  expect((await service.dataset.getEncoding({ name: encoding!.name })).encoding!.name).toBe(encoding!.name);
  const again = service.dataset.encodeVersion({ name: version, model, ...cut });
  await expect(again).rejects.toMatchObject({ reason: 'NOT_FOUND', field: 'name' });
});
