export { unlessAborted } from './abort.ts';
export { checkAccess, isLoopback, type Access } from './access.ts';
export { openClient, type CallOptions, type Client, type ClientOptions } from './client.ts';
export { diagnosticsService, roundTrip, versionIn, type Subject } from './diagnostics.ts';
export { codeOf } from './codes.ts';
export { startFront, type Front, type FrontOptions } from './front.ts';
export { errorOf, statusOf } from './failures.ts';
export { startHealth, type HealthOptions, type RunningHealth } from './health.ts';
export { inField } from './field.ts';
export { service, type CallContext, type Handler, type Handlers, type Service } from './serve.ts';
export { maxMessageBytes, startServer, type RunningServer, type ServerOptions } from './server.ts';
export { refuseUnknownFields } from './unknown.ts';
export { refuseLongList } from './lists.ts';
export { newId, parseName } from './names.ts';
export { readPage, type Page } from './paging.ts';
export {
  accessVariables,
  clientSecurity,
  peerVariables,
  serverAccess,
  type AccessVariables,
  type PeerVariables,
} from './environment.ts';
export { openSecurity, type Security, type SecurityOptions } from './security.ts';
export { openTokens } from './tokens.ts';
export { resolveTruncationMode } from './truncation.ts';
export { watch, type Watched } from './watch.ts';
