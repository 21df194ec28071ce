export { checkAccess, isLoopback, readToken, type Access } from './access.ts';
export { openClient, type CallOptions, type Client, type ClientOptions } from './client.ts';
export { codeOf } from './codes.ts';
export { errorOf, statusOf } from './failures.ts';
export { service, type CallContext, type Handler, type Handlers, type Service } from './serve.ts';
export { startServer, type RunningServer, type ServerOptions } from './server.ts';
export { refuseUnknownFields } from './unknown.ts';
