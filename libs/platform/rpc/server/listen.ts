import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { PairwiseError } from '@pairwise/errors';

/** Binds a server to `host:port` and returns the address with the actual port. Throws UNAVAILABLE if that fails. */
export async function listen(server: Server, address: string, credentials: ServerCredentials): Promise<string> {
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(new PairwiseError('UNAVAILABLE', `cannot listen on ${address}: ${error.message}`, { cause: error }));
    });
  });
  return `${address.slice(0, address.lastIndexOf(':'))}:${port}`;
}
