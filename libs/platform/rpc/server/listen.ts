import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { PairwiseError } from '@pairwise/errors';

/** Binds a server to `host:port` and returns it with the real port. Throws UNAVAILABLE where that cannot be. */
export async function listen(server: Server, address: string, credentials: ServerCredentials): Promise<string> {
  const port = await new Promise<number>((tell, refuse) => {
    server.bindAsync(address, credentials, (error, bound) => {
      if (error === null) tell(bound);
      else refuse(new PairwiseError('UNAVAILABLE', `cannot listen on ${address}: ${error.message}`, { cause: error }));
    });
  });
  return `${address.slice(0, address.lastIndexOf(':'))}:${port}`;
}
