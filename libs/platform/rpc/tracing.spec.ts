import { PairwiseError } from '@pairwise/errors';
import { startTelemetry, withRun, withSpan } from '@pairwise/telemetry';
import { startCollector } from '@pairwise/telemetry/testing';
import { expect, test } from 'vitest';
import { openClient, startFront, startServer } from './index.ts';
import { echo, echoService, failure, texts } from './testing.echo.ts';

test('a call is a span on both sides, in the caller’s trace and with the conventional attributes', async () => {
  const collector = await startCollector();
  Object.assign(process.env, collector.environment);
  const telemetry = await startTelemetry('test');
  const log = { error: () => undefined };
  const server = await startServer({
    address: '127.0.0.1:0',
    services: [
      echoService({
        say: ({ text }) =>
          withSpan('handled', {}, () =>
            text === '' ? Promise.reject(new PairwiseError('INVALID_ARGUMENT', 'empty')) : Promise.resolve({ text }),
          ),
        tell: async function* () {
          yield await Promise.resolve({ text: '1' });
        },
      }),
    ],
    log,
  });
  const front = await startFront({ address: '127.0.0.1:0', routes: { 'test.Echo': server.address }, log });
  const client = openClient(echo, { address: front.address });
  await withSpan('root', {}, () =>
    withRun('runs/a', async () => {
      await client.say({ text: 'a' });
      await failure(client.say({ text: '' }));
      await texts(client.tell({ text: '' }));
    }),
  );
  client.close();
  await front.stop();
  await server.drain();
  await telemetry.stop();
  await collector.stop();

  const { spans } = collector;
  const root = spans.find(({ name }) => name === 'root')!;
  const [client_, server_] = [3, 2].map((kind) =>
    spans.filter((span) => span.kind === kind && span.name === 'test.Echo/Say'),
  );
  expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([root.traceId]));
  expect(client_!.map(({ parentSpanId }) => parentSpanId)).toEqual([root.spanId, root.spanId]);
  expect(server_!.map(({ parentSpanId }) => parentSpanId)).toEqual(client_!.map(({ spanId }) => spanId));
  const handled = spans.filter(({ name }) => name === 'handled');
  expect(handled.map(({ parentSpanId }) => parentSpanId)).toEqual(server_!.map(({ spanId }) => spanId));
  expect(spans.filter(({ name }) => name === 'test.Echo/Tell')).toHaveLength(2);
  expect(client_![0]!.attributes).toMatchObject({
    'rpc.system.name': 'grpc',
    'rpc.method': 'test.Echo/Say',
    'rpc.response.status_code': 'OK',
    'server.address': '127.0.0.1',
    'server.port': front.address.split(':')[1],
    'pairwise.run.id': 'runs/a',
  });
  // An error caused by the caller is an error of the caller's span, not of the server's.
  expect(client_![1]!.attributes).toMatchObject({
    'rpc.response.status_code': 'INVALID_ARGUMENT',
    'error.type': 'INVALID_ARGUMENT',
  });
  expect(server_![1]!.attributes).toMatchObject({
    'rpc.response.status_code': 'INVALID_ARGUMENT',
    'pairwise.run.id': 'runs/a',
  });
  expect(server_![1]!.attributes).not.toHaveProperty('error.type');
});
