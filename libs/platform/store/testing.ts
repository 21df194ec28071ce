import { createHash } from 'node:crypto';
import { buildApp } from 'fauxqs';

export interface S3Server {
  /** For processes that use the server. */
  environment: Record<'AWS_ENDPOINT_URL_S3' | 'AWS_ACCESS_KEY_ID' | 'AWS_SECRET_ACCESS_KEY', string>;
  faults: S3Faults;
  /** Requests so far, as `PUT /blobs/...`. */
  requests: string[];
  /** Sends a request directly to the server. `path` is `bucket/key`. */
  send(method: string, path: string, body?: Uint8Array): Promise<Response>;
  stop(): Promise<void>;
}

export interface S3Faults {
  /** Breaks every connection. */
  away: boolean;
  /** The number of GET replies still to break off in the middle. */
  truncations: number;
  /** Whether to damage the bodies of requests to a URL on the way in. */
  damage(url: string): boolean;
}

/** The only access key that the server accepts. */
const accessKeyId = 'pairwise-tests';

const xml = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;

/**
 * Starts an S3 server on loopback with the bucket `blobs`: fauxqs, plus what S3 has and fauxqs lacks, checks of the
 * sha256 and of the access key; and faults to inject.
 */
export async function startS3(): Promise<S3Server> {
  const faults: S3Faults = { away: false, truncations: 0, damage: () => false };
  const requests: string[] = [];
  const app = buildApp({ logger: false });
  app.addHook('onRequest', (request, reply, done) => {
    requests.push(`${request.method} ${request.url}`);
    if (faults.away) request.raw.socket.destroy();
    else if (!request.headers.authorization?.includes(`Credential=${accessKeyId}/`))
      void reply.code(403).type('application/xml').send(xml('InvalidAccessKeyId'));
    else done();
  });
  app.addHook('preHandler', (request, reply, done) => {
    const body = request.body instanceof Buffer ? request.body : Buffer.alloc(0);
    if (faults.damage(request.url) && body.length > 0) body[0]! ^= 1;
    const sum = request.headers['x-amz-checksum-sha256'];
    if (sum === undefined || sum === createHash('sha256').update(body).digest('base64')) done();
    else void reply.code(400).type('application/xml').send(xml('BadDigest'));
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    if (request.method !== 'GET' || reply.statusCode >= 300 || faults.truncations === 0) {
      done(null, payload);
      return;
    }
    faults.truncations -= 1;
    reply.hijack();
    reply.raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>);
    const bytes = payload as Buffer;
    reply.raw.write(bytes.subarray(0, bytes.length / 2), () => reply.raw.destroy());
  });
  const endpoint = await app.listen({ port: 0, host: '127.0.0.1' });
  const environment = {
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: 'secret-of-the-tests',
  };
  const authorization = `Credential=${accessKeyId}/`;
  const send: S3Server['send'] = (method, path, body) =>
    fetch(`${endpoint}/${path}`, { method, headers: { authorization }, ...(body && { body: Buffer.from(body) }) });
  await send('PUT', 'blobs');
  return { environment, faults, requests, send, stop: () => app.close() };
}
