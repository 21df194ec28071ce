import { once } from 'node:events';
import { connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, credentials, status } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { afterEach, expect, test, vi } from 'vitest';
import { PairwiseError } from '@pairwise/errors';
import { openClient, startFront, startServer } from '../index.ts';
import { type EchoHandlers, echo, echoService, failure, largeMessage, requests, texts } from '../testing.echo.ts';

const log = { error: () => undefined };
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function behindFront(handlers: Partial<EchoHandlers>) {
  const server = await startServer({ address: '127.0.0.1:0', services: [echoService(handlers)], log });
  const routes = { 'test.Echo': server.address, 'test.Nobody': '127.0.0.1:1' };
  const front = await startFront({ address: '127.0.0.1:0', routes, log });
  const client = openClient(echo, { address: front.address });
  closing.push(
    () => server.drain(100),
    () => front.stop(100),
    () => client.close(),
  );
  return { server, front, client };
}

test('all four kinds of method, metadata and errors with details pass through', async () => {
  const error = new PairwiseError('WRONG_STATE', 'no', { metadata: { name: 'x' } });
  const { client } = await behindFront({
    say: ({ text }, { metadata }) => Promise.resolve({ text: `${text} ${String(metadata.get('traceparent').length)}` }),
    tell: async function* () {
      yield await Promise.resolve({ text: '1' });
      throw error;
    },
    collect: async (all) => ({ text: (await texts(all)).join('') }),
    converse: async function* (all) {
      for await (const { text } of all) yield { text: text.toUpperCase() };
    },
  });
  expect((await client.say({ text: 'a' })).text).toMatch(/^a /);
  expect(await client.collect(requests('a', 'b'))).toEqual({ text: 'ab' });
  expect(await texts(client.converse(requests('a', 'b')))).toEqual(['A', 'B']);
  expect(await failure(texts(client.tell({ text: '' })))).toMatchObject({
    reason: 'WRONG_STATE',
    metadata: { name: 'x' },
  });
});

test('large messages pass through unchanged, many at a time', async () => {
  const { client } = await behindFront({ say: (request) => Promise.resolve(request) });
  const messages = Array.from({ length: 8 }, (_, index) => largeMessage(String(index), 3_000_000));
  expect(await Promise.all(messages.map((message) => client.say(message)))).toEqual(messages);
});

test('cancelling reaches the backend, and a slow reader slows it down without blocking other calls', async () => {
  const big = largeMessage('x', 100_000);
  let made = 0;
  const cancelled = new AbortController();
  const { client } = await behindFront({
    say: (request) => Promise.resolve(request),
    tell: async function* (_request, { signal }) {
      signal.addEventListener('abort', () => cancelled.abort());
      for (; made < 10_000; made += 1) yield await Promise.resolve(big);
    },
  });
  const streams = Array.from({ length: 4 }, () => client.tell({ text: '' }));
  for (const stream of streams) await stream.next();
  await sleep(300);
  expect(made).toBeLessThan(200);
  expect(await client.say({ text: 'quick' })).toEqual({ text: 'quick' });
  for (const stream of streams) await stream.return();
  while (!cancelled.signal.aborted) await sleep(10);
});

test('a backend is UNAVAILABLE while it is down and if it dies during a call, and is found again after a restart', async () => {
  const begun = new AbortController();
  const { client, server } = await behindFront({
    say: () => Promise.resolve({ text: '' }),
    tell: async function* (_request, { signal }) {
      yield { text: '1' };
      begun.abort();
      await sleep(10_000, undefined, { signal });
    },
  });
  const watching = failure(texts(client.tell({ text: '' })));
  while (!begun.signal.aborted) await sleep(10);
  await server.drain(0);
  expect(await watching).toMatchObject({ reason: 'UNAVAILABLE' });
  expect(await failure(client.say({ text: '' }))).toMatchObject({ reason: 'UNAVAILABLE' });
  const again = await startServer({
    address: server.address,
    services: [echoService({ say: () => Promise.resolve({ text: 'again' }) })],
    log,
  });
  closing.push(() => again.drain(0));
  expect(await client.say({ text: '' })).toEqual({ text: 'again' });
});

const renamed = (from: string) => ({ ...echo, say: { ...echo.say, path: from } });

test('unknown services are distinguished from those that are down', async () => {
  const { front } = await behindFront({});
  const nobody = openClient(renamed('/test.Nobody/Say'), { address: front.address });
  const unknown = openClient(renamed('/test.Unknown/Say'), { address: front.address });
  closing.push(
    () => nobody.close(),
    () => unknown.close(),
  );
  expect((await failure(nobody.say({ text: '' })))?.message).toMatch(/test\.Nobody cannot be reached/);
  expect(await failure(unknown.say({ text: '' }))).toMatchObject({ reason: 'INTERNAL', cause: { code: 12 } });
});

test.each(['__proto__', 'constructor', 'hasOwnProperty', 'toString', ''])('there is no service %j', async (name) => {
  const { front, client } = await behindFront({ say: (request) => Promise.resolve(request) });
  const session = connect(`http://${front.address}`);
  closing.push(() => session.destroy());
  const call = session.request({ ':method': 'POST', ':path': `/${name}/x`, 'content-type': 'application/grpc' });
  const [headers] = (await once(call, 'response')) as [Record<string, string>];
  expect(headers['grpc-status']).toBe(String(status.UNIMPLEMENTED));
  expect(await client.say({ text: 'still there' })).toEqual({ text: 'still there' });
});

test('many watches block nobody, and a caller with too many calls is refused at once', async () => {
  const { client } = await behindFront({
    say: (request) => Promise.resolve(request),
    tell: async function* (_request, { signal }) {
      yield { text: 'watching' };
      await once(signal, 'abort');
    },
  });
  // More than fit on one session to a backend.
  const watches = Array.from({ length: 1999 }, () => client.tell({ text: '' }));
  await Promise.all(watches.map((watch) => watch.next()));
  expect(await client.say({ text: 'quick' })).toEqual({ text: 'quick' });
  watches.push(client.tell({ text: '' }));
  await watches.at(-1)!.next();
  const refused = { reason: 'TOO_MANY_CALLS', message: expect.stringContaining('2000 calls open') as string };
  expect(await failure(client.say({ text: '' }))).toMatchObject(refused);
  await watches.pop()!.return();
  await vi.waitFor(async () => expect(await client.say({ text: 'again' })).toEqual({ text: 'again' }));
  await Promise.all(watches.map((watch) => watch.return()));
});

test('answers health checks itself', async () => {
  const { front } = await behindFront({});
  const client = new Client(front.address, credentials.createInsecure());
  closing.push(() => client.close());
  const { Check: check } = healthService as { Check: (typeof healthService)[string] };
  const answer = await new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      check.path,
      check.requestSerialize,
      check.responseDeserialize,
      { service: '' },
      (error, reply) => {
        if (error === null) resolve(reply);
        else reject(error);
      },
    );
  });
  expect(answer).toMatchObject({ status: 'SERVING' });
});
