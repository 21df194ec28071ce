import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { PairwiseError } from '@pairwise/errors';
import { afterEach, expect, test } from 'vitest';
import { type CallContext, openClient, startServer } from './index.ts';
import { type EchoHandlers, echo, echoService, failure, largeMessage, requests, texts } from './testing.echo.ts';

const defects: unknown[] = [];
const log = { error: (fields: object) => defects.push(fields) };
const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  defects.length = 0;
  for (const close of closing.splice(0).reverse()) await close();
});

async function serve(handlers: Partial<EchoHandlers>) {
  const server = await startServer({ address: '127.0.0.1:0', services: [echoService(handlers)], log });
  const client = openClient(echo, { address: server.address });
  closing.push(
    () => server.drain(200),
    () => client.close(),
  );
  return { server, client };
}

test('all four kinds of methods work', async () => {
  const { client } = await serve({
    say: ({ text }) => Promise.resolve({ text: `${text}!` }),
    tell: async function* ({ text }) {
      for (const letter of text) yield await Promise.resolve({ text: letter });
    },
    collect: async (all) => ({ text: (await texts(all)).join('') }),
    converse: async function* (all) {
      for await (const { text } of all) yield { text: text.toUpperCase() };
    },
  });
  expect(await client.say({ text: 'a' })).toEqual({ text: 'a!' });
  expect(await texts(client.tell({ text: 'abc' }))).toEqual(['a', 'b', 'c']);
  expect(await client.collect(requests('a', 'b'))).toEqual({ text: 'ab' });
  expect(await texts(client.converse(requests('a', 'b')))).toEqual(['A', 'B']);
});

test('the reason, field and metadata of an error arrive, for every kind of method', async () => {
  const error = new PairwiseError('UNSUPPORTED_CONFIG', 'sliding windows: no', {
    field: 'spec.model',
    metadata: { field: 'sliding_window' },
  });
  const { client } = await serve({
    say: () => Promise.reject(error),
    tell: async function* () {
      yield await Promise.resolve({ text: 'one' });
      throw error;
    },
    collect: () => Promise.reject(error),
    converse: async function* () {
      yield await Promise.resolve({ text: 'one' });
      throw error;
    },
  });
  for (const call of [
    () => client.say({ text: '' }),
    () => texts(client.tell({ text: '' })),
    () => client.collect(requests('a', 'b')),
    () => texts(client.converse(requests('a'))),
  ]) {
    const got = await failure(call());
    expect(got).toBeInstanceOf(PairwiseError);
    expect(got).toMatchObject({ reason: 'UNSUPPORTED_CONFIG', message: 'sliding windows: no', field: 'spec.model' });
    expect(got?.metadata).toEqual({ field: 'sliding_window' });
    expect(got?.cause).toMatchObject({ code: status.INVALID_ARGUMENT });
  }
  expect(defects).toEqual([]);
});

test('half a surrogate pair in an error, which may come from a file, arrives as U+FFFD', async () => {
  const error = new PairwiseError('INVALID_MODEL', 'no tensor \ud800', {
    field: '\udfff',
    metadata: { file: '\ud800' },
  });
  const { client } = await serve({
    say: () => Promise.reject(error),
    tell: async function* () {
      yield await Promise.reject(error);
    },
  });
  const arrived = { message: 'no tensor \ufffd', field: '\ufffd', metadata: { file: '\ufffd' } };
  expect(await failure(client.say({ text: '' }))).toMatchObject(arrived);
  expect(await failure(texts(client.tell({ text: '' })))).toMatchObject(arrived);
});

test('a bug reveals nothing to callers, but the log has everything', async () => {
  const { client } = await serve({ say: () => Promise.reject(new TypeError('secret')) });
  const got = await failure(client.say({ text: '' }));
  expect(got).toMatchObject({ reason: 'INTERNAL' });
  expect(got?.message).not.toContain('secret');
  expect(defects).toMatchObject([{ err: { message: 'secret' }, method: '/test.Echo/Say' }]);
});

test('aborting, leaving a stream and exceeding a deadline reach the handler', async () => {
  const ended: string[] = [];
  let begun = 0;
  const waiting = async ({ signal }: CallContext, kind: string) => {
    begun += 1;
    await sleep(20_000, undefined, { signal }).catch(() => undefined);
    ended.push(`${kind} ${(signal.reason as PairwiseError).reason}`);
    return { text: '' };
  };
  const { client } = await serve({
    say: (_, context) => waiting(context, 'say'),
    tell: async function* (_, context) {
      yield { text: '1' };
      yield await waiting(context, 'tell');
    },
  });
  const controller = new AbortController();
  const reply = failure(client.say({ text: '' }, { signal: controller.signal }));
  while (begun === 0) await sleep(10);
  controller.abort();
  expect(await reply).toMatchObject({ reason: 'CANCELLED' });

  for await (const { text } of client.tell({ text: '' })) {
    expect(text).toBe('1');
    break;
  }
  const late = await failure(client.say({ text: '' }, { deadline: new Date(Date.now() + 2000) }));
  expect(late).toMatchObject({ reason: 'UNAVAILABLE', cause: { code: status.DEADLINE_EXCEEDED } });
  const already = AbortSignal.abort(new PairwiseError('CANCELLED', 'before'));
  expect(await failure(client.say({ text: '' }, { signal: already }))).toMatchObject({ message: 'before' });
  while (ended.length < 3) await sleep(10);
  expect(ended.sort()).toEqual(['say CANCELLED', 'say CANCELLED', 'tell CANCELLED']);
});

test("a handler's context, when passed on, ends the calls that the handler makes", async () => {
  const deadlines: (Date | undefined)[] = [];
  const inner = await serve({
    say: async (_, { signal, deadline }) => {
      deadlines.push(deadline);
      await sleep(20_000, undefined, { signal }).catch(() => undefined);
      deadlines.push(undefined);
      return { text: '' };
    },
  });
  const outer = await serve({ say: (request, context) => inner.client.say(request, context) });
  const deadline = new Date(Date.now() + 300);
  await failure(outer.client.say({ text: '' }, { deadline }));
  while (deadlines.length < 2) await sleep(10);
  expect(Math.abs(deadlines[0]!.getTime() - deadline.getTime())).toBeLessThan(100);
});

test('a slow reader slows the handler down, and a slow server its caller', async () => {
  const big = largeMessage('x', 100_000);
  let made = 0;
  const { client } = await serve({
    tell: async function* () {
      for (; made < 1000; made += 1) yield await Promise.resolve(big);
    },
    collect: async (all) => {
      for await (const first of all) {
        await sleep(300);
        return first;
      }
      return { text: '' };
    },
  });
  const stream = client.tell({ text: '' });
  await stream.next();
  await sleep(300);
  expect(made).toBeLessThan(100);
  await stream.return();

  let sent = 0;
  const many = async function* () {
    for (; sent < 1000; sent += 1) yield await Promise.resolve(big);
  };
  await client.collect(many());
  expect(sent).toBeLessThan(100);
});

test('an error in the stream of requests is thrown to the caller', async () => {
  const { client } = await serve({ collect: async (all) => ({ text: (await texts(all)).join('') }) });
  const broken = async function* () {
    yield await Promise.resolve({ text: 'a' });
    throw new PairwiseError('INVALID_FILE', 'cannot be read');
  };
  expect(await failure(client.collect(broken()))).toMatchObject({ reason: 'INVALID_FILE' });
});

test('a missing server is UNAVAILABLE; one that starts soon is waited for', async () => {
  const { server, client } = await serve({ say: () => Promise.resolve({ text: 'back' }) });
  await server.drain(0);
  const waiting = client.say({ text: '' });
  const again = await startServer({
    address: server.address,
    services: [echoService({ say: () => Promise.resolve({ text: 'back' }) })],
    log,
  });
  closing.push(() => again.drain(0));
  expect(await waiting).toEqual({ text: 'back' });
  const nobody = openClient(echo, { address: '127.0.0.1:1' });
  closing.push(() => nobody.close());
  expect(await failure(nobody.say({ text: '' }))).toMatchObject({ reason: 'UNAVAILABLE' });
});

test('a call that waited in vain is not retried; one that failed quickly is', async () => {
  let calls = 0;
  const away = new PairwiseError('UNAVAILABLE', 'the database cannot be reached');
  const say = async ({ text }: { text: string }) => {
    calls += 1;
    await sleep(Number(text));
    throw away;
  };
  const { client } = await serve({ say });
  for (const [waits, times] of [
    ['3100', 1],
    ['0', 5],
  ] as const) {
    calls = 0;
    expect(await failure(client.say({ text: waits }))).toMatchObject({ reason: 'UNAVAILABLE' });
    expect(calls).toBe(times);
  }
}, 20_000);
