import { Server, ServerCredentials } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { listen } from './listen.ts';

export interface HealthOptions {
  /**
   * `host:port` of a second port, in clear text and for everybody, on which there is health alone: probes of Kubernetes
   * speak no TLS and show no token. Default: none.
   */
  healthAddress?: string | undefined;
  /** Whether the process still does its work; false makes `liveness` ask for a restart. Default: it always does. */
  isAlive?: (() => boolean) | undefined;
}

export interface RunningHealth {
  /** `host:port` of the second port with its real number; undefined where there is none. */
  address: string | undefined;
  addToServer(server: Server): void;
  /** Readiness is over. */
  leave(): void;
  /** Closes the second port. */
  stop(): void;
}

const livenessMs = 1000;

/**
 * Reports the health of the process by grpc.health.v1: readiness (`""` and each of the services), `liveness` and `startup`.
 * It is ready and started from now on, so this comes last. Throws UNAVAILABLE for an address that is taken.
 */
export async function startHealth(
  { healthAddress, isAlive = () => true }: HealthOptions,
  services: readonly string[] = [],
): Promise<RunningHealth> {
  const ready = ['', ...services];
  const probes = [...ready, 'liveness', 'startup'];
  const health = new HealthImplementation(Object.fromEntries(probes.map((probe) => [probe, 'SERVING'] as const)));
  const own = healthAddress === undefined ? undefined : new Server({ 'grpc.max_concurrent_streams': 100 });
  let address: string | undefined;
  if (own !== undefined && healthAddress !== undefined) {
    health.addToServer(own);
    address = await listen(own, healthAddress, ServerCredentials.createInsecure());
  }
  const look = () => health.setStatus('liveness', isAlive() ? 'SERVING' : 'NOT_SERVING');
  const looking = setInterval(look, livenessMs).unref();
  return {
    address,
    addToServer: (server) => health.addToServer(server),
    leave: () => ready.forEach((probe) => health.setStatus(probe, 'NOT_SERVING')),
    stop: () => {
      clearInterval(looking);
      own?.forceShutdown();
    },
  };
}
