import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, connect as connectHttp2 } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectionOptions, type TLSSocket, connect } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { identityOf } from './tls.ts';
import { type Access, openClient, openSecurity, startFront, startServer } from '../index.ts';
import { type Issued, makeAuthority, mount, mountTls, processNames } from '../testing.ts';
import { echo, echoService, failure } from '../testing.echo.ts';

const logged: string[] = [];
const log = { error: (fields: object, message: string) => logged.push(JSON.stringify(fields), message) };
const authority = makeAuthority();
const other = makeAuthority('another authority');
const ours = Object.fromEntries(
  ['dataset', 'orchestrator', 'export'].map((name) => [name, authority.issue(processNames(name))]),
) as Record<'dataset' | 'orchestrator' | 'export', Issued>;
const token = 'a-token-of-enough-length';
const closing: (() => unknown)[] = [];
let root: string;
beforeAll(() => (root = mkdtempSync(join(tmpdir(), 'pairwise-tls-'))));
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(() => rmSync(root, { recursive: true }));
const folder = () => mkdtempSync(join(root, 'f-'));

/** A server named `localhost`, guarded by a token and by certificates. */
async function serve(access: Partial<Access> = {}, issued = ours.dataset) {
  const tls = mountTls(folder(), issued, authority);
  const [tokenFile] = mount(folder(), { token });
  const waits = async function* () {
    yield { text: 'begun' };
    for (;;) {
      await sleep(20);
      yield { text: 'continuing' };
    }
  };
  const handlers = { say: (request: { text: string }) => Promise.resolve(request), tell: waits };
  const options = { address: 'localhost:0', tls, tokenFile, callers: ['orchestrator'], ...access };
  const server = await startServer({ ...options, services: [echoService(handlers)], log });
  closing.push(() => server.drain(0));
  return { ...server, tls };
}

type Security = Parameters<typeof openSecurity>[0];
function client(address: string, security: Security) {
  const opened = openClient(echo, { address, security: openSecurity(security, log) });
  closing.push(() => opened.close());
  return opened;
}
const peer = (address: string, issued: Issued, tokenFile?: string) =>
  client(address, { tls: mountTls(folder(), issued, authority), tokenFile });
const stranger = (tokenFile?: string) => ({ tls: { caFile: mount(folder(), { ca: authority.cert })[0] }, tokenFile });
const tokenFileOf = (text: string) => mount(folder(), { token: text })[0]!;

test('a listed peer needs no token, an unlisted one is PERMISSION_DENIED, and a token admits both', async () => {
  const { address } = await serve();
  expect(await peer(address, ours.orchestrator).say({ text: 'in' })).toEqual({ text: 'in' });
  const denied = await failure(peer(address, ours.export).say({ text: '' }));
  expect(denied).toMatchObject({ reason: 'PERMISSION_DENIED', cause: { code: status.PERMISSION_DENIED } });
  expect(denied?.message).toContain('spiffe://pairwise/export is not among the processes');
  expect(await peer(address, ours.export, tokenFileOf(token)).say({ text: 'in' })).toEqual({ text: 'in' });
});

test('without a certificate, only a token is accepted', async () => {
  const { address } = await serve();
  expect(await client(address, stranger(tokenFileOf(token))).say({ text: 'in' })).toEqual({ text: 'in' });
  for (const security of [stranger(), stranger(tokenFileOf('another-token-of-enough-length'))]) {
    const refused = await failure(client(address, security).say({ text: '' }));
    expect(refused).toMatchObject({ reason: 'UNAUTHENTICATED', cause: { code: status.UNAUTHENTICATED } });
  }
});

const unverified = {
  'that has expired': authority.issue({ ...processNames('orchestrator'), days: [-3, -1] }),
  'that is not valid yet': authority.issue({ ...processNames('orchestrator'), days: [1, 3] }),
  'of another authority': other.issue(processNames('orchestrator')),
  'without an identity': authority.issue({ names: ['localhost'] }),
  'with two identities': authority.issue({ names: ['spiffe://pairwise/orchestrator', 'spiffe://pairwise/dataset'] }),
  'of another trust domain': authority.issue({ names: ['spiffe://elsewhere/orchestrator'] }),
  'with the identity as a common name': authority.issue({ names: ['a, URI:spiffe://pairwise/orchestrator, b'] }),
};
test.each(Object.entries(unverified))('a certificate %s identifies nobody', async (_, issued) => {
  const { address } = await serve();
  expect(await failure(peer(address, issued).say({ text: '' }))).toMatchObject({ reason: 'UNAUTHENTICATED' });
});

/** The status of a call without a token on a TLS connection of its own; it may resume a session. */
async function callOver(address: string, options: ConnectionOptions): Promise<{ code: string; session: Buffer }> {
  const port = Number(address.split(':')[1]);
  const socket: TLSSocket = connect({ ...options, port, host: 'localhost', ca: authority.cert, ALPNProtocols: ['h2'] });
  const renewed = once(socket, 'session') as Promise<[Buffer]>;
  await once(socket, 'secureConnect');
  const http2 = connectHttp2(`https://${address}`, { createConnection: () => socket });
  const head = { ':method': 'POST', ':path': '/test.Echo/Say', 'content-type': 'application/grpc', te: 'trailers' };
  const stream = http2.request(head);
  stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, 11]), Buffer.from('{"text":""}')]));
  stream.resume();
  const code = await new Promise<string>((resolve) => {
    const onHeaders = (headers: IncomingHttpHeaders) => {
      if (typeof headers['grpc-status'] === 'string') resolve(headers['grpc-status']);
    };
    stream.on('response', onHeaders).on('trailers', onHeaders);
  });
  const [session] = options.session === undefined ? await renewed : [options.session];
  expect(options.session === undefined || socket.isSessionReused()).toBe(true);
  http2.destroy();
  return { code, session };
}

test('resuming a TLS session does not make an unverified certificate valid', async () => {
  const { address } = await serve();
  for (const [issued, code] of [
    [ours.orchestrator, status.OK],
    [unverified['of another authority'], status.UNAUTHENTICATED],
    [unverified['that has expired'], status.UNAUTHENTICATED],
    [undefined, status.UNAUTHENTICATED],
  ] as const) {
    const first = await callOver(address, { ...issued });
    expect(first.code).toBe(String(code));
    expect((await callOver(address, { session: first.session })).code).toBe(String(code));
  }
});

test('a self-signed certificate identifies nobody', async () => {
  const selfSigned = makeAuthority('spiffe://pairwise/orchestrator');
  const { address } = await serve();
  const issued = selfSigned.issue(processNames('orchestrator'));
  const { code } = await callOver(address, { cert: issued.cert + selfSigned.cert, key: issued.key });
  expect(code).toBe(String(status.UNAUTHENTICATED));
});

test('a server without an authority asks for no certificate', async () => {
  const issued = other.issue(processNames('orchestrator'));
  const { certFile, keyFile } = mountTls(folder(), ours.dataset, authority);
  const { address } = await serve({ tls: { certFile, keyFile } });
  expect(await failure(peer(address, issued).say({ text: '' }))).toMatchObject({ reason: 'UNAUTHENTICATED' });
});

test("a client refuses a server with another process's or another authority's certificate", async () => {
  const worker = authority.issue({ names: ['export', 'spiffe://pairwise/export'] });
  const security = stranger(tokenFileOf(token));
  const asAnother = await failure(client((await serve({}, worker)).address, security).say({ text: '' }));
  expect(asAnother).toMatchObject({ reason: 'UNAVAILABLE', cause: { code: status.UNAVAILABLE } });
  expect(asAnother?.message).toMatch(/does not match certificate's altnames.*localhost.*DNS:export/);
  const foreign = await failure(
    client((await serve({}, other.issue(processNames('dataset')))).address, security).say({ text: '' }),
  );
  expect(foreign?.message).toMatch(/certificate/);
  expect(foreign).toMatchObject({ reason: 'UNAVAILABLE' });
});

test('new certificates apply to new connections, on both sides; open calls continue', async () => {
  const { address, tls } = await serve();
  const mine = folder();
  const caller = client(address, { tls: mountTls(mine, ours.orchestrator, authority) });
  const stream = caller.tell({ text: '' });
  await stream.next();
  const next = makeAuthority('the next authority');
  // Both sides trust both authorities until all certificates come from the new one.
  const both = { cert: authority.cert + next.cert };
  mountTls(join(tls.certFile, '..'), next.issue(processNames('dataset')), both);
  mountTls(mine, next.issue(processNames('orchestrator')), both);
  const served = async () => {
    const socket = connect({
      port: Number(address.split(':')[1]),
      host: 'localhost',
      ca: both.cert,
      ALPNProtocols: ['h2'],
    });
    await once(socket, 'secureConnect');
    const { issuer } = socket.getPeerCertificate();
    socket.destroy();
    return issuer.CN;
  };
  while ((await served()) !== 'the next authority') await sleep(50);
  await sleep(1000);
  mountTls(join(tls.certFile, '..'), next.issue(processNames('dataset')), next);
  const later = (issued: Issued) =>
    failure(client(address, { tls: mountTls(folder(), issued, both) }).say({ text: '' }));
  while ((await later(ours.orchestrator))?.reason !== 'UNAUTHENTICATED') await sleep(50);
  expect(await later(next.issue(processNames('orchestrator')))).toBeUndefined();
  expect((await stream.next()).value).toEqual({ text: 'continuing' });
  await stream.return();
});

test('a client presents its new certificate when it reconnects', async () => {
  const server = await serve();
  const mine = folder();
  const caller = client(server.address, { tls: mountTls(mine, ours.orchestrator, authority) });
  expect(await caller.say({ text: '1' })).toEqual({ text: '1' });
  mountTls(mine, ours.export, authority);
  await sleep(1100);
  expect(await caller.say({ text: '2' })).toEqual({ text: '2' });
  await server.drain(0);
  await serve({ address: server.address });
  expect(await failure(caller.say({ text: '3' }))).toMatchObject({ reason: 'PERMISSION_DENIED' });
});

test('mismatched files change nothing and are logged without their contents', async () => {
  const { address, tls } = await serve();
  mountTls(join(tls.certFile, '..'), { cert: ours.dataset.cert, key: ours.export.key }, authority);
  while (!logged.some((line) => line.includes('cannot be used for TLS'))) await sleep(50);
  expect(await peer(address, ours.orchestrator).say({ text: 'in' })).toEqual({ text: 'in' });
  for (const text of [token, ...ours.export.key.split('\n').filter((line) => line.length > 40)])
    expect(logged.join()).not.toContain(text);
});

test('files that are unusable at the start are refused by name', async () => {
  const { certFile, keyFile, caFile } = mountTls(folder(), ours.dataset, authority);
  const mismatch = mountTls(folder(), { cert: ours.dataset.cert, key: ours.export.key }, authority);
  await expect(serve({ tls: mismatch })).rejects.toThrow(/tls.crt.*tls.key.*cannot be used for TLS/);
  await expect(serve({ tls: { certFile, keyFile, caFile: keyFile } })).rejects.toThrow(
    /does not contain a PEM certificate/,
  );
  await expect(serve({ tls: { certFile, keyFile: `${keyFile}x`, caFile } })).rejects.toThrow(/tls.keyx cannot be read/);
  await expect(serve({ tokenFile: tokenFileOf('short') })).rejects.toThrow(/at least 16/);
});

test('the token of a client and the certificate of the front are renewed', async () => {
  const files = folder();
  const tokenFolder = folder();
  const [tokenFile] = mount(tokenFolder, { token });
  const { certFile, keyFile } = mountTls(files, ours.dataset, authority);
  const server = await startServer({
    address: '127.0.0.1:0',
    tokenFile,
    services: [echoService({ say: (r) => Promise.resolve(r) })],
    log,
  });
  closing.push(() => server.drain(0));
  const routes = { 'test.Echo': server.address };
  const front = await startFront({ address: 'localhost:0', routes, tls: { certFile, keyFile }, tokenFile, log });
  closing.push(() => front.stop(0));
  const caller = client(front.address, stranger(tokenFile));
  expect(await caller.say({ text: '1' })).toEqual({ text: '1' });
  mount(tokenFolder, { token: 'the-next-token-of-enough-length' });
  const old = client(front.address, stranger(tokenFileOf(token)));
  while ((await failure(old.say({ text: '' })))?.reason !== 'UNAUTHENTICATED') await sleep(50);
  while ((await failure(caller.say({ text: '' }))) !== undefined) await sleep(50);
  mountTls(files, other.issue(processNames('front')), authority);
  const foreign = () => {
    const caFile = mount(folder(), { ca: other.cert })[0];
    return failure(client(front.address, { tls: { caFile }, tokenFile }).say({ text: '' }));
  };
  while ((await foreign()) !== undefined) await sleep(50);
});

test('an identity is the only URI of a certificate', () => {
  const of = (subjectaltname: string) => identityOf({ subjectaltname });
  expect(of('DNS:dataset, URI:spiffe://pairwise/training-worker')).toBe('training-worker');
  for (const text of ['', 'DNS:spiffe://pairwise/a', 'URI:spiffe://pairwise/a/b', 'URI:spiffe://pairwise/'])
    expect(of(text)).toBeUndefined();
  expect(of('DNS:"a, URI:spiffe://pairwise/orchestrator, b"')).toBeUndefined();
  expect(identityOf(undefined)).toBeUndefined();
});
