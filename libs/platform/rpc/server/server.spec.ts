import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, connect } from 'node:http2';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Client, type MethodDefinition, type ServiceDefinition, credentials, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { service as healthService } from 'grpc-health-check';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Access, checkAccess, maxMessageBytes, openClient, startServer } from '../index.ts';
import { type EchoHandlers, echo, echoService, failure, texts } from '../testing.echo.ts';

const log = { error: () => undefined };
const closing: (() => unknown)[] = [];
let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'pairwise-rpc-'))));
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(() => rmSync(folder, { recursive: true }));

async function serve(handlers: Partial<EchoHandlers> = {}, access: Partial<Access> = {}) {
  const all = { say: (request: { text: string }) => Promise.resolve(request), ...handlers };
  const server = await startServer({ address: '127.0.0.1:0', services: [echoService(all)], log, ...access });
  closing.push(() => server.drain(0));
  return server;
}

function client(address: string, options: Partial<Parameters<typeof openClient>[1]> = {}) {
  const opened = openClient(echo, { address, ...options });
  closing.push(() => opened.close());
  return opened;
}

/** Sends one raw frame of a gRPC message; returns the status of the answer. */
async function sendRaw(address: string, compressed: boolean, message: Buffer): Promise<string> {
  const session = connect(`http://${address}`);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/test.Echo/Say',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...(compressed ? { 'grpc-encoding': 'gzip' } : {}),
  });
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0);
  head.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([head, message]));
  const code = await new Promise<string>((resolve) => {
    const onHeaders = ({ 'grpc-status': code }: IncomingHttpHeaders) => {
      if (typeof code === 'string') resolve(code);
    };
    stream
      .on('response', onHeaders)
      .on('trailers', onHeaders)
      .on('error', () => undefined);
    stream.on('close', () => resolve(`reset ${stream.rstCode}`));
    stream.resume();
  });
  session.destroy();
  return code;
}

test('a corrupt gzip frame, one that inflates too far, and wrong lengths do not kill the server', async () => {
  const { address } = await serve();
  expect(await sendRaw(address, true, Buffer.from('not gzip at all'))).toBe(String(status.INTERNAL));
  const cut = gzipSync(Buffer.alloc(100_000, 'x')).subarray(0, 40);
  expect(await sendRaw(address, true, cut)).toBe(String(status.INTERNAL));
  const bomb = gzipSync(Buffer.alloc(20 * maxMessageBytes));
  expect(await sendRaw(address, true, bomb)).toBe(String(status.RESOURCE_EXHAUSTED));
  expect(await sendRaw(address, false, Buffer.from('no JSON'))).not.toBe(String(status.OK));
  expect(await client(address).say({ text: 'alive' })).toEqual({ text: 'alive' });
});

test('a message over the limit is refused', async () => {
  const { address } = await serve();
  const error = await failure(client(address).say({ text: 'x'.repeat(maxMessageBytes) }));
  expect(error).toMatchObject({ reason: 'INVALID_ARGUMENT', cause: { code: status.RESOURCE_EXHAUSTED } });
});

test('calls are spread over all addresses of a name', async () => {
  const named = (text: string) => ({ say: () => Promise.resolve({ text }) });
  const first = await serve(named('first'));
  const port = first.address.split(':')[1]!;
  await serve(named('second'), { address: `127.0.0.2:${port}` });
  const caller = client(`ipv4:127.0.0.1:${port},127.0.0.2:${port}`);
  const answers = new Set<string>();
  // Connections are established one after another.
  while (answers.size < 2) answers.add((await caller.say({ text: '' })).text);
  expect([...answers].sort()).toEqual(['first', 'second']);
});

/** A stream of requests that stalls after its first message. */
async function* endless(text: string) {
  yield { text };
  await new Promise(() => undefined);
}

test('draining lets single calls finish, ends streams with UNAVAILABLE, and cuts everything off at the deadline', async () => {
  const begun: string[] = [];
  const server = await serve({
    say: async ({ text }, { signal }) => {
      begun.push(text);
      await sleep(text === 'long' ? 60_000 : 300, undefined, { signal });
      return { text };
    },
    tell: async function* () {
      yield { text: 'first' };
      begun.push('stream');
      await sleep(60_000);
    },
    collect: async (messages) => {
      for await (const { text } of messages) begun.push(text);
      return { text: '' };
    },
  });
  const caller = client(server.address);
  const upload = failure(caller.collect(endless('upload')));
  const short = caller.say({ text: 'short' });
  const long = failure(caller.say({ text: 'long' }));
  const stream = failure(texts(caller.tell({ text: '' })));
  const seen: unknown[] = [];
  const watching = watchHealth(server.address, seen);
  while (begun.length < 4 || seen.length === 0) await sleep(10);
  await server.drain(1000);
  expect(await upload).toMatchObject({ reason: 'UNAVAILABLE' });
  expect(await short).toEqual({ text: 'short' });
  expect((await stream)?.message).toMatch(/stopping/);
  expect(await stream).toMatchObject({ reason: 'UNAVAILABLE' });
  expect(await long).toMatchObject({ reason: 'UNAVAILABLE' });
  expect(await watching).toEqual(['SERVING', 'NOT_SERVING', status.UNAVAILABLE]);
});

function untyped(address: string): Client {
  const opened = new Client(address, credentials.createInsecure());
  closing.push(() => opened.close());
  return opened;
}

/** Adds each health status to `seen`. Returns the final status of the stream. */
async function watchHealth(address: string, seen: unknown[]): Promise<unknown[]> {
  const method = healthService['Watch']!;
  const stream = untyped(address).makeServerStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    {
      service: '',
    },
  );
  return new Promise((resolve) => {
    stream.on('data', (answer: { status: unknown }) => seen.push(answer.status));
    stream.on('error', () => undefined);
    stream.on('status', ({ code }) => resolve([...seen, code]));
  });
}

async function health(address: string, service: string): Promise<unknown> {
  const method = healthService['Check']!;
  return new Promise((resolve) => {
    untyped(address).makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      { service },
      (error, answer) => resolve(error === null ? (answer as { status: string }).status : error.code),
    );
  });
}

test('the server reports its own health and that of its probes and services', async () => {
  const { address } = await serve();
  for (const service of ['', 'liveness', 'startup', 'test.Echo'])
    expect(await health(address, service)).toBe('SERVING');
  expect(await health(address, 'test.Other')).toBe(status.NOT_FOUND);
});

test('the health port serves health in clear text and without a token, and nothing else', async () => {
  let alive = true;
  const tokenFile = join(folder, 'health-token');
  writeFileSync(tokenFile, 'a-token-of-enough-length');
  const options = { address: '127.0.0.1:0', healthAddress: '0.0.0.0:0', tokenFile, isAlive: () => alive };
  const server = await startServer({ ...options, services: [echoService({})], log });
  closing.push(() => server.drain(0));
  const port = server.healthAddress!.replace('0.0.0.0', '127.0.0.1');
  for (const service of ['', 'liveness', 'startup', 'test.Echo']) expect(await health(port, service)).toBe('SERVING');
  await expect(client(port).say({ text: '' })).rejects.toMatchObject({ cause: { code: status.UNIMPLEMENTED } });
  alive = false;
  while ((await health(port, 'liveness')) === 'SERVING') await sleep(50);
  expect(await health(port, '')).toBe('SERVING');
  const seen: unknown[] = [];
  const watching = watchHealth(port, seen);
  while (seen.length === 0) await sleep(10);
  await server.drain(1000);
  expect((await watching).slice(0, 2)).toEqual(['SERVING', 'NOT_SERVING']);
  expect(await health(port, '')).toBe(status.UNAVAILABLE);
});

/** Sends one request to the reflection service, as a client in another language would. */
async function reflect(address: string, question: object): Promise<unknown> {
  const folder = join(dirname(createRequire(import.meta.url).resolve('@grpc/reflection')), '../proto');
  const loaded = loadSync(join(folder, 'grpc/reflection/v1/reflection.proto'));
  const service = loaded['grpc.reflection.v1.ServerReflection'] as ServiceDefinition;
  const method = service['ServerReflectionInfo'] as MethodDefinition<object, object>;
  const stream = untyped(address).makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
  );
  stream.end(question);
  for await (const answer of stream as AsyncIterable<unknown>) return answer;
  return undefined;
}

test('reflection lists the services and describes their types', async () => {
  const server = await startServer({
    address: '127.0.0.1:0',
    services: [],
    reflect: ['pairwise.v1.TrainingService'],
    log,
  });
  closing.push(() => server.drain(0));
  expect(await reflect(server.address, { listServices: '*' })).toMatchObject({
    listServicesResponse: { service: [{ name: 'grpc.health.v1.Health' }, { name: 'pairwise.v1.TrainingService' }] },
  });
  const described = (await reflect(server.address, { fileContainingSymbol: 'pairwise.v1.LoraConfig' })) as {
    fileDescriptorResponse: { fileDescriptorProto: Buffer[] };
  };
  const files = described.fileDescriptorResponse.fileDescriptorProto;
  expect(files.some((file) => file.includes('target_modules'))).toBe(true);
});

test('other machines reach a server only over TLS with a token, or if that is explicitly allowed', () => {
  const tls = { certFile: '', keyFile: '' };
  const refused = (access: Access) => {
    try {
      checkAccess(access);
    } catch (error) {
      return (error as { reason: string }).reason;
    }
    return undefined;
  };
  for (const host of ['127.0.0.1', '127.8.9.1', 'localhost', '[::1]'])
    expect(refused({ address: `${host}:1` })).toBe(undefined);
  for (const host of ['0.0.0.0', '10.0.0.1', '[::]', '[fe80::1]', 'example.com', '127.evil.example', '']) {
    const address = `${host}:1`;
    expect(refused({ address })).toBe('INVALID_ARGUMENT');
    expect(refused({ address, tls })).toBe('INVALID_ARGUMENT');
    expect(refused({ address, tokenFile: 'x' })).toBe('INVALID_ARGUMENT');
    expect(refused({ address, accessFile: 'x' })).toBe('INVALID_ARGUMENT');
    expect(refused({ address, tls, tokenFile: 'x' })).toBe(undefined);
    expect(refused({ address, tls, accessFile: 'x' })).toBe(undefined);
    expect(refused({ address, tls: { ...tls, caFile: 'x' } })).toBe(undefined);
    expect(refused({ address, insecure: true })).toBe(undefined);
  }
});
