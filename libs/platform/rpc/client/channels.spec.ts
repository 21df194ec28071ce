import { promises as dns } from 'node:dns';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openClient, startServer } from '../index.ts';
import { type EchoHandlers, echo, echoService, texts } from '../testing.echo.ts';

const log = { error: () => undefined };
const closing: (() => unknown)[] = [];
// The sockets are real, but the test advances the clock.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
});
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  for (const close of closing.splice(0).reverse()) await close();
});

async function serve(address: string, handlers: Partial<EchoHandlers>) {
  const server = await startServer({ address, services: [echoService(handlers)], log });
  closing.push(() => server.drain(0));
  return server;
}

test('a stream lasts until it ends', async () => {
  const over = Promise.withResolvers<undefined>();
  const server = await serve('127.0.0.1:0', {
    say: (request) => Promise.resolve(request),
    tell: async function* () {
      yield { text: 'first' };
      await over.promise;
      yield { text: 'last' };
    },
  });
  const client = openClient(echo, { address: server.address });
  closing.push(() => client.close());
  const stream = client.tell({ text: '' });
  await stream.next();
  for (let minute = 0; minute < 20; minute += 1) {
    vi.advanceTimersByTime(30_000);
    // After two round trips, both sides have received the answers to their keepalive pings.
    await client.say({ text: '' });
    await client.say({ text: '' });
    vi.advanceTimersByTime(30_000);
    await client.say({ text: '' });
    await client.say({ text: '' });
  }
  over.resolve(undefined);
  expect(await texts(stream)).toEqual(['last']);
});

test('calls reach a replica that was added after the client connected, and open streams stay on their connection', async () => {
  const over = Promise.withResolvers<undefined>();
  const handlers = (name: string): Partial<EchoHandlers> => ({
    say: () => Promise.resolve({ text: name }),
    tell: async function* () {
      yield { text: name };
      await over.promise;
      yield { text: `${name} ends` };
    },
  });
  const first = await serve('127.0.0.1:0', handlers('first'));
  const port = first.address.split(':')[1]!;
  const addresses = ['127.0.0.1'];
  vi.spyOn(dns, 'lookup').mockImplementation((() =>
    Promise.resolve(addresses.map((address) => ({ address, family: 4 })))) as unknown as typeof dns.lookup);
  const client = openClient(echo, { address: `replicas.test:${port}` });
  closing.push(() => client.close());
  const stream = client.tell({ text: '' });
  expect(await stream.next()).toMatchObject({ value: { text: 'first' } });

  await serve(`127.0.0.2:${port}`, handlers('second'));
  addresses.push('127.0.0.2');
  vi.advanceTimersByTime(31_000);
  await vi.waitFor(async () => expect(await client.say({ text: '' })).toEqual({ text: 'second' }));
  over.resolve(undefined);
  expect(await texts(stream)).toEqual(['first ends']);
});
