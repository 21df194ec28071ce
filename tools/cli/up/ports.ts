import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { PairwiseError } from '@pairwise/errors';

/** Splits `host:port`; an IPv6 host loses its brackets. */
export function splitAddress(address: string): { host: string; port: number } {
  const [, host, port] = /^(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})$/.exec(address) ?? [];
  if (host === undefined || Number(port) > 65_535) {
    throw new PairwiseError('INVALID_ARGUMENT', `'${address}' is not a valid address; it must be host:port`, {
      field: 'PAIRWISE_ADDRESS',
    });
  }
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}

interface HeldPort {
  port: number;
  release(): Promise<void>;
}

/** Occupies a port until it is released. */
async function hold(port: number, host: string): Promise<HeldPort> {
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    release: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** Throws IN_USE if an address is in use, and INVALID_ARGUMENT if it is unusable for another reason. */
export async function checkFree(address: string): Promise<void> {
  const { host, port } = splitAddress(address);
  try {
    await (await hold(port, host)).release();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const message =
      code === 'EADDRINUSE'
        ? `${address} is in use; is Pairwise already running? Choose another address with --listen`
        : `cannot listen on ${address}: ${(error as Error).message}`;
    throw new PairwiseError(code === 'EADDRINUSE' ? 'IN_USE' : 'INVALID_ARGUMENT', message, { cause: error });
  }
}

/** Finds `count` free loopback ports: those that follow `after` if they are free, otherwise any. If `after` is 0, any. */
export async function freePorts(count: number, after: number): Promise<number[]> {
  const held: HeldPort[] = [];
  try {
    for (let index = 1; index <= count; index += 1) {
      const wanted = after === 0 || after + index > 65_535 ? 0 : after + index;
      held.push(await hold(wanted, '127.0.0.1').catch(() => hold(0, '127.0.0.1')));
    }
    return held.map(({ port }) => port);
  } finally {
    await Promise.all(held.map(({ release }) => release()));
  }
}
