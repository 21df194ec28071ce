import { type ChannelCredentials, Client as GrpcClient } from '@grpc/grpc-js';
import { maxMessageBytes } from '../server/server.ts';

/**
 * Spreads calls over all addresses that a name resolves to. Only UNAVAILABLE is retried: the call reached no server, or
 * one that is shutting down.
 */
const serviceConfig = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: '0.1s',
        maxBackoff: '2s',
        backoffMultiplier: 2,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
};

const channelOptions = {
  'grpc.service_config': JSON.stringify(serviceConfig),
  'grpc.service_config_disable_resolution': 1,
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': maxMessageBytes,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.enable_http_proxy': 0,
};

/** How long a channel takes new calls before another one replaces it. */
const channelMs = 30_000;

export interface Channels {
  /** Returns the channel for a new call, and a function to call when that call has ended. */
  lend(): [channel: GrpcClient, giveBack: () => void];
  /** Accepts no more calls, and disconnects once the open ones have ended. */
  close(): void;
}

/**
 * Opens channels to a server at `host:port`. A grpc-js channel resolves its server's name again only when a connection
 * breaks. So a new channel is opened every 30 s, which finds replicas added since; channels share the connections that
 * still work, and an open call stays on its channel.
 */
export function openChannels(address: string, credentials: ChannelCredentials): Channels {
  const open = () => ({ client: new GrpcClient(address, credentials, channelOptions), openedMs: Date.now(), calls: 0 });
  let current = open();
  let closed = false;
  return {
    lend: () => {
      if (!closed && Date.now() - current.openedMs > channelMs) {
        if (current.calls === 0) current.client.close();
        current = open();
      }
      const lent = current;
      lent.calls += 1;
      const giveBack = () => {
        lent.calls -= 1;
        if (lent.calls === 0 && lent !== current) lent.client.close();
      };
      return [lent.client, giveBack];
    },
    close: () => {
      closed = true;
      current.client.close();
    },
  };
}
