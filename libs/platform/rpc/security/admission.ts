import { type Metadata, type ServerInterceptor, ServerInterceptingCall } from '@grpc/grpc-js';
import { type Role, roles } from '@pairwise/config';
import { PairwiseError } from '@pairwise/errors';
import { type Access, isGuarded } from './access.ts';
import { toTrailers } from '../messages/failures.ts';
import { projectsIn, projectOfRequest } from './projects.ts';
import type { ReloadLog } from './reload.ts';
import { needs } from './roles.ts';
import { identityOf } from './tls.ts';
import { type Caller, openTokens } from './tokens.ts';

export interface Admission {
  /** Admits calls that authenticate. Health checks need not. */
  interceptor: ServerInterceptor;
  /**
   * Throws PERMISSION_DENIED unless the caller's role suffices for the method and for everything that its first message
   * names.
   */
  permit(metadata: Metadata, path: string, message: unknown): void;
}

const covers = (role: Role | undefined, needed: Role) =>
  role !== undefined && roles.indexOf(role) >= roles.indexOf(needed);

/**
 * Returns the caller: a listed peer with a verified certificate, or the holder of a known token. Throws
 * UNAUTHENTICATED, and PERMISSION_DENIED for a process that is not on the list.
 */
function callerOf(identity: string | undefined, peers: readonly string[], holder: () => Caller | undefined): Caller {
  if (identity !== undefined && peers.includes(identity)) return { name: identity, roles: { '*': 'admin' } };
  const caller = holder();
  if (caller !== undefined) return caller;
  if (identity === undefined) {
    const message = 'the call has no valid bearer token; name a file with one in PAIRWISE_TOKEN_FILE';
    throw new PairwiseError('UNAUTHENTICATED', message);
  }
  const message = `spiffe://pairwise/${identity} is not among the processes that may call this server, and the call has no token`;
  throw new PairwiseError('PERMISSION_DENIED', message, { metadata: { caller: identity } });
}

function checkRole(caller: Caller, path: string, needed: Role, project: string): void {
  if (covers(caller.roles['*'], needed) || covers(caller.roles[project], needed)) return;
  const message = `${caller.name} may not call ${path.slice(1)}: it needs the role ${needed} in ${project}`;
  throw new PairwiseError('PERMISSION_DENIED', message, { metadata: { caller: caller.name, role: needed, project } });
}

/** Throws PERMISSION_DENIED unless the caller may send this first message to the method. */
export function checkPermission(caller: Caller, path: string, message: unknown): void {
  // A method that is missing from the table is for admins only.
  const needed = needs.get(path) ?? 'admin';
  if (needed === 'anyone' || covers(caller.roles['*'], needed)) return;
  const project = projectOfRequest(message);
  if (project === undefined) {
    const problem = `${path.slice(1)}: the request names no project; name or parent must begin with projects/{project}`;
    throw new PairwiseError('INVALID_ARGUMENT', problem);
  }
  checkRole(caller, path, needed, project);
  for (const project of projectsIn(message)) checkRole(caller, path, 'reader', project);
}

/** Opens the guard of a server, or returns undefined if anyone may call. Throws INVALID_ARGUMENT for unusable files. */
export function openAdmission(access: Access, log: ReloadLog): Admission | undefined {
  if (!isGuarded(access)) return undefined;
  const holderOf = openTokens(access, log);
  const admitted = new WeakMap<Metadata, Caller>();
  const { callers: peers = [] } = access;
  return {
    interceptor: (method, call) =>
      new ServerInterceptingCall(call, {
        start: (next) => {
          next({
            onReceiveMetadata: (metadata, proceed) => {
              try {
                const identity = identityOf(call.getAuthContext().sslPeerCertificate);
                if (!method.path.startsWith('/grpc.health.v1.')) {
                  const given = metadata.get('authorization').map(String)[0];
                  admitted.set(
                    metadata,
                    callerOf(identity, peers, () => holderOf(given)),
                  );
                }
              } catch (error) {
                call.sendStatus(toTrailers(error));
                return;
              }
              proceed(metadata);
            },
          });
        },
      }),
    permit: (metadata, path, message) => {
      const caller = admitted.get(metadata);
      if (caller === undefined) throw new Error(`${path} was reached by a call that was not admitted`);
      checkPermission(caller, path, message);
    },
  };
}
