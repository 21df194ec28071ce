export { unlessAborted } from './abort.ts';
export { checkAccess, isLoopback, type Access } from './security/access.ts';
export { openClient, type CallOptions, type Client, type ClientOptions } from './client/client.ts';
export { diagnosticsService, roundTrip, versionIn, type DiagnosedProcess } from './server/diagnostics.ts';
export { statusCodeOf } from './messages/codes.ts';
export { enumName } from './messages/enumName.ts';
export { hasEnded } from './messages/ended.ts';
export { startFront, type Front, type FrontOptions } from './server/front.ts';
export { errorOf, statusOf } from './messages/failures.ts';
export { startHealth, type HealthOptions, type RunningHealth } from './server/health.ts';
export {
  decidingFigure,
  formatName,
  isGguf,
  ggufTypeOf,
  mergedTypeOf,
  resolveTargets,
  type ResolvedTarget,
} from './messages/exportTargets.ts';
export { inField, refuseField } from './messages/field.ts';
export { service, type CallContext, type Handler, type Handlers, type Service } from './server/serve.ts';
export { maxMessageBytes, startServer, type RunningServer, type ServerOptions } from './server/server.ts';
export { refuseUnknownFields } from './messages/unknown.ts';
export { refuseLongList } from './messages/lists.ts';
export { newId, parseName } from './messages/names.ts';
export { byName, readPage, type Page } from './messages/paging.ts';
export {
  accessVariables,
  clientSecurity,
  peerVariables,
  serverAccess,
  type AccessVariables,
  type PeerVariables,
} from './security/environment.ts';
export { openSecurity, type Security, type SecurityOptions } from './security/security.ts';
export { openTokens } from './security/tokens.ts';
export {
  encodeModeOf,
  resolveChatTemplate,
  resolveChatTemplateDate,
  resolveTruncationMode,
} from './messages/encoding.ts';
export { plannedBytes, resolveActivationCheckpointing, workerMemory } from './messages/memory.ts';
export { engineQuantization, quantizedFile, resolveBaseQuantization } from './messages/quantization.ts';
export { watch, type Watched } from './server/watch.ts';
