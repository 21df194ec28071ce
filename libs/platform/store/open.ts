import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openFolder } from './folder.ts';
import { observeFileSystem } from './measures.ts';
import type { BlobStore } from './store.ts';

/** The variables that say where blobs are stored; `libs/platform/config` documents and parses them. */
export interface StoreVariables {
  PAIRWISE_DATA: string;
  PAIRWISE_BLOB_URL?: string | undefined;
  PAIRWISE_CACHE?: string | undefined;
  PAIRWISE_CACHE_BYTES: number;
  AWS_ENDPOINT_URL_S3?: string | undefined;
  AWS_ENDPOINT_URL?: string | undefined;
  AWS_REGION?: string | undefined;
}

/** The names of these variables, for `readEnvironment`. */
export const storeVariables = [
  'PAIRWISE_DATA',
  'PAIRWISE_BLOB_URL',
  'PAIRWISE_CACHE',
  'PAIRWISE_CACHE_BYTES',
  'AWS_ENDPOINT_URL_S3',
  'AWS_ENDPOINT_URL',
  'AWS_REGION',
] as const;

/**
 * Opens the blob store that the environment names: a folder, created if missing, or a prefix of an S3 bucket, which is
 * not contacted yet. Throws INVALID_ARGUMENT if a bucket's region is not found.
 */
export async function openBlobStore(variables: StoreVariables): Promise<BlobStore> {
  const { PAIRWISE_DATA: data, PAIRWISE_BLOB_URL: url, PAIRWISE_CACHE: cache } = variables;
  if (url === undefined || url.startsWith('file:')) {
    const folder = url === undefined ? resolve(data, 'blobs') : fileURLToPath(url);
    const store = await openFolder(folder);
    observeFileSystem(folder);
    return store;
  }
  const endpoint = variables.AWS_ENDPOINT_URL_S3 ?? variables.AWS_ENDPOINT_URL;
  const place = { endpoint, region: variables.AWS_REGION };
  const folder = cache ?? join(data, 'cache');
  // Loading Amazon's SDK takes a tenth of a second and 20 MB, which is wasted without a bucket.
  const { openS3 } = await import('./s3.ts');
  return openS3(url, place, { folder, capBytes: variables.PAIRWISE_CACHE_BYTES });
}
