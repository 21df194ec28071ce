export { openBlobStore } from './open.ts';
export type { BlobStore, PutOptions } from './store.ts';
