import { type ClientHttp2Stream, type IncomingHttpHeaders, type OutgoingHttpHeaders, constants } from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import { status } from '@grpc/grpc-js';
import { PairwiseError } from '@pairwise/errors';
import { toTrailers } from '../messages/failures.ts';

/** Selects the headers to pass on. The next hop sets its own pseudo headers, and `connection` belongs to HTTP/1. */
export function passed(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':') && name !== 'connection'));
}

/**
 * Trailers of a status without details. gRPC percent-encodes messages: everything but printable ASCII, and the percent
 * sign.
 */
export const statusTrailers = (code: status, message: string): OutgoingHttpHeaders => ({
  'grpc-status': String(code),
  'grpc-message': message.replaceAll(/[^ -$&-~]/gu, encodeURIComponent),
});

/** Trailers of an error with its details. */
export function errorTrailers(error: unknown): OutgoingHttpHeaders {
  const { code, details, metadata } = toTrailers(error);
  return { ...statusTrailers(code, details), ...metadata.toHttp2Headers() };
}

/** Ends a call with our own trailers, whether or not its response has begun. */
export function refuse(stream: ServerHttp2Stream, trailers: OutgoingHttpHeaders): void {
  if (stream.destroyed || stream.writableEnded) return;
  if (!stream.headersSent) {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...trailers }, { endStream: true });
    // Discards what the caller is still sending.
    stream.resume();
    return;
  }
  stream.removeAllListeners('wantTrailers');
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end();
}

/**
 * Passes a call to a backend and its answer back: messages, trailers and resets, each side only as fast as the other
 * reads. `defect` is called with what a listener throws; the call has been reset by then.
 */
export function relay(
  stream: ServerHttp2Stream,
  upstream: ClientHttp2Stream,
  name: string,
  defect: (error: unknown) => void,
): void {
  /** Wraps a listener so that its exception ends this call and not the process. */
  const guarded =
    <Args extends unknown[]>(listener: (...args: Args) => void) =>
    (...args: Args) => {
      try {
        listener(...args);
      } catch (error) {
        stream.close(constants.NGHTTP2_INTERNAL_ERROR);
        defect(error);
      }
    };
  const unavailable = (problem: string) => errorTrailers(new PairwiseError('UNAVAILABLE', `${name} ${problem}`));
  let trailers: OutgoingHttpHeaders | undefined;
  upstream.on(
    'response',
    guarded((headers: IncomingHttpHeaders, flags: number) => {
      if (stream.destroyed) return;
      const head = { ':status': headers[':status'], ...passed(headers) };
      if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) {
        stream.respond(head, { endStream: true });
        return;
      }
      stream.respond(head, { waitForTrailers: true });
      const sendTrailers = () => stream.sendTrailers(trailers ?? unavailable('stopped in the middle of its answer'));
      stream.once('wantTrailers', guarded(sendTrailers));
      upstream.pipe(stream);
    }),
  );
  upstream.on('trailers', (headers: IncomingHttpHeaders) => (trailers = passed(headers)));
  upstream.on(
    'error',
    guarded((error: Error) => refuse(stream, unavailable(`cannot be reached: ${error.message}`))),
  );
  upstream.on(
    'close',
    guarded(() => refuse(stream, unavailable('stopped in the middle of its answer'))),
  );
  stream.on('error', () => undefined);
  stream.on('close', () => {
    if (!upstream.closed) upstream.close(constants.NGHTTP2_CANCEL);
  });
  stream.pipe(upstream);
}
