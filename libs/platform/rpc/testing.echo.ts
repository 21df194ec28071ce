import { PairwiseError } from '@pairwise/errors';
import { type Handlers, type Service, service } from './server/serve.ts';

/** A large message has parts, since a server refuses long strings. */
interface Echo {
  text: string;
  parts?: string[];
}

/** A service whose messages are JSON; everything else is as in the generated definitions. */
const json = <Path extends string, In extends boolean, Out extends boolean>(path: Path, ins: In, outs: Out) => ({
  path,
  requestStream: ins,
  responseStream: outs,
  requestSerialize: (message: Echo) => Buffer.from(JSON.stringify(message)),
  requestDeserialize: (bytes: Buffer) => JSON.parse(bytes.toString()) as Echo,
  responseSerialize: (message: Echo) => Buffer.from(JSON.stringify(message)),
  responseDeserialize: (bytes: Buffer) => JSON.parse(bytes.toString()) as Echo,
});
export const echo = {
  say: json('/test.Echo/Say', false, false),
  tell: json('/test.Echo/Tell', false, true),
  collect: json('/test.Echo/Collect', true, false),
  converse: json('/test.Echo/Converse', true, true),
};

export type EchoHandlers = Handlers<typeof echo>;

const refuse = () => Promise.reject(new PairwiseError('NOT_FOUND', 'no such thing'));

/** The service with the handlers that a test needs; all other methods throw NOT_FOUND. */
export function echoService(handlers: Partial<EchoHandlers>): Service {
  const none = async function* () {
    yield* [];
    await refuse();
  };
  return service(echo, { say: refuse, tell: none, collect: refuse, converse: none, ...handlers });
}

/** A message of this many characters. */
export const largeMessage = (text: string, characters: number): Echo => ({
  text,
  parts: Array.from({ length: characters / 10_000 }, () => text.repeat(10_000)),
});

/** A stream of requests. */
export async function* requests(...texts: string[]) {
  for (const text of texts) yield await Promise.resolve({ text });
}

/** Collects all messages of a stream. */
export async function texts(stream: AsyncIterable<{ text: string }>): Promise<string[]> {
  const all: string[] = [];
  for await (const { text } of stream) all.push(text);
  return all;
}

/** Returns the error that a promise rejects with, or undefined. */
export const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error as PairwiseError,
  );
