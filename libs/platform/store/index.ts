export { openFolder } from './folder.ts';
export { openBlobStore, storeVariables, type StoreVariables } from './open.ts';
export type { BlobStore, LocalBlob, PutOptions } from './store.ts';
