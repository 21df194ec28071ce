import { Server, ServerCredentials } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { listen } from './listen.ts';

export interface HealthOptions {
  /**
   * `host:port` of a second port that serves health only, in clear text and without authentication: Kubernetes probes
   * support neither TLS nor tokens. Default: none.
   */
  healthAddress?: string | undefined;
  /** Whether the process still works; false makes `liveness` ask for a restart. Default: always true. */
  isAlive?: (() => boolean) | undefined;
}

export interface RunningHealth {
  /** `host:port` of the second port with its actual number; undefined if there is none. */
  address: string | undefined;
  addToServer(server: Server): void;
  /** Marks the process as no longer ready. */
  leave(): void;
  /** Closes the second port. */
  stop(): void;
}

const livenessMs = 1000;

/**
 * Reports the health of the process over grpc.health.v1: readiness (`""` and each service), `liveness` and `startup`.
 * All of them report SERVING as soon as this is called, so call it last. Throws UNAVAILABLE if the address is taken.
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
  const check = () => health.setStatus('liveness', isAlive() ? 'SERVING' : 'NOT_SERVING');
  const timer = setInterval(check, livenessMs).unref();
  return {
    address,
    addToServer: (server) => health.addToServer(server),
    leave: () => ready.forEach((probe) => health.setStatus(probe, 'NOT_SERVING')),
    stop: () => {
      clearInterval(timer);
      own?.forceShutdown();
    },
  };
}
