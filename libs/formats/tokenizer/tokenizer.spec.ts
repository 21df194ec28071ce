import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EncodeOptions, Message, PreferencePair } from '@pairwise/preference';
import { afterEach, expect, test } from 'vitest';
import { byteLevelFiles } from './testing.ts';
import { openTokenizer, type TokenizerFiles } from './index.ts';
import { limits } from './limits.ts';
import { endlessOnLongTexts, endlessTemplate, hostileTokenizers } from './testing.ts';

const tokenizerConfig = JSON.stringify({ bos_token: '<s>', eos_token: '</s>' });
const filesWith = (change: object, chatTemplate?: string): TokenizerFiles => ({
  ...byteLevelFiles(change),
  tokenizerConfig,
  chatTemplate,
});

/** Processes that the process with this id has started. */
const childrenOf = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
const own = () => childrenOf(process.pid);

// Whatever happens to a tokenizer, its process is gone.
afterEach(() => expect(own()).toEqual([]));

const whole: EncodeOptions = { maxLength: 4096, truncationMode: 'REFUSE', chatTemplate: 'AUTO' };
const sky: PreferencePair = { prompt: 'The sky is ', chosen: 'blue.', rejected: 'green.' };
const question: Message[] = [{ role: 'user', content: 'Which colour?' }];
const answered = (content: string): Message[] => [{ role: 'assistant', content }];

test.each(Object.entries(hostileTokenizers))('%s fails to open, with the reason', async (_, change) => {
  const opening = openTokenizer(filesWith(change));
  const reason = /tokenizer\.json crashes .*(memory allocation|no entry found for key|retry-limit-in-match over)/;
  await expect(opening).rejects.toMatchObject({ reason: 'INVALID_MODEL', field: 'tokenizer.json' });
  await expect(opening).rejects.toThrow(reason);
});

test('a tokenizer that takes too long fails to open', async () => {
  const grow = { type: 'Replace', pattern: { String: 'a' }, content: 'a'.repeat(10) };
  const change = { normalizer: { type: 'Sequence', normalizers: Array.from({ length: 7 }, () => grow) } };
  const opening = openTokenizer(filesWith(change), { limits: { ...limits, answerMs: 1000 } });
  await expect(opening).rejects.toMatchObject({ reason: 'INVALID_MODEL', field: 'tokenizer.json' });
  await expect(opening).rejects.toThrow('takes more than 1 s');
});

test('a chat template that takes too long fails to open', async () => {
  const opening = openTokenizer(filesWith({}, endlessTemplate), { limits: { ...limits, renderMs: 1000 } });
  await expect(opening).rejects.toMatchObject({ reason: 'UNSUPPORTED_CONFIG', field: 'chat_template' });
  await expect(opening).rejects.toThrow('chat_template takes more than 1 s');
});

test('a pair whose text the tokenizer cannot bear is held against the tokenizer', async () => {
  await using tokenizer = await openTokenizer(filesWith(endlessOnLongTexts));
  const encoding = tokenizer.encodePair({ ...sky, prompt: 'The sky is blue. '.repeat(4) }, whole);
  await expect(encoding).rejects.toMatchObject({ reason: 'INVALID_MODEL', field: 'tokenizer.json' });
  await expect(encoding).rejects.toThrow('retry-limit-in-match over');
  await expect(tokenizer.encodePair(sky, whole)).rejects.toMatchObject({ reason: 'INVALID_MODEL' });
});

test('a pair for which the template takes too long is held against the template', async () => {
  const template = `{% for m in messages %}{{ m.content }}{% endfor %}{% if messages | length > 2 %}${endlessTemplate}{% endif %}`;
  await using tokenizer = await openTokenizer(filesWith({}, template), { limits: { ...limits, renderMs: 1000 } });
  const texts = await tokenizer.encodePair(sky, { ...whole, chatTemplate: 'NONE' });
  expect(texts.prompt.length).toBeGreaterThan(0);
  const long: PreferencePair = {
    prompt: [...question, ...answered('blue'), ...question],
    chosen: answered('blue'),
    rejected: answered('green'),
  };
  const encodings = [sky, long, sky].map((pair) => tokenizer.encodePair(pair, whole));
  const [, second, third] = await Promise.allSettled(encodings);
  const overBudget = { status: 'rejected', reason: { reason: 'UNSUPPORTED_CONFIG', field: 'chat_template' } };
  expect([second, third]).toMatchObject([overBudget, overBudget]);
});

test('a template that keeps writing is refused', async () => {
  const template = `{% set all = namespace(x='a') %}{% for i in range(28) %}{% set all.x = all.x + all.x %}{% endfor %}{{ all.x }}`;
  const opening = openTokenizer(filesWith({}, template));
  await expect(opening).rejects.toMatchObject({ reason: 'UNSUPPORTED_CONFIG', field: 'chat_template' });
});

test('an aborted signal ends the process, whatever it does', async () => {
  const abort = new AbortController();
  const opening = openTokenizer(filesWith({}, endlessTemplate), { signal: abort.signal });
  const [pid] = own();
  abort.abort(new Error('enough'));
  await expect(opening).rejects.toThrow('enough');
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  await expect(openTokenizer(filesWith({}), { signal: abort.signal })).rejects.toThrow('enough');
});

test('a process that somebody kills is not held against the model, and gets no secrets', async () => {
  await using tokenizer = await openTokenizer(filesWith({}));
  const [pid] = own();
  const names = readFileSync(`/proc/${pid}/environ`, 'utf8')
    .split('\0')
    .map((variable) => variable.split('=')[0]!);
  const given = ['NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE', 'NODE_COMPILE_CACHE', 'PATH', 'RUST_BACKTRACE'];
  expect(given).toEqual(expect.arrayContaining(names.filter((name) => name !== '')));
  const encoding = tokenizer.encodePair({ ...sky, prompt: 'The sky is blue. '.repeat(50_000) }, whole);
  process.kill(pid!, 'SIGKILL');
  await expect(encoding).rejects.toMatchObject({ reason: 'INTERNAL' });
  await expect(encoding).rejects.toThrow('ended with SIGKILL');
});

test('a process that is killed takes its tokenizer along, whatever that does', async () => {
  const program = `
    const { openTokenizer } = await import(${JSON.stringify(import.meta.resolve('./index.ts'))});
    await openTokenizer(${JSON.stringify(filesWith({}, endlessTemplate))});`;
  const parent = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'ignore' });
  while (childrenOf(parent.pid!).length === 0) await sleep(10);
  const [pid] = childrenOf(parent.pid!);
  const usedMs = () => Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[13]) * 10;
  // Its template is what it is at by then.
  while (usedMs() < 1500) await sleep(10);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  while (existsSync(`/proc/${pid}`)) await sleep(10);
});

test('settings that are nested without end are refused', async () => {
  const depth = 100_000;
  const open = '{"type":"Sequence","normalizers":['.repeat(depth);
  const broken = openTokenizer({ tokenizerJson: `{"normalizer":${open}${']}'.repeat(depth)}}` });
  await expect(broken).rejects.toMatchObject({ reason: 'INVALID_MODEL', field: 'tokenizer.json' });
});
