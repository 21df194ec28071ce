export { openBlobStore, type BlobStore } from './store.ts';
