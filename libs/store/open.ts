import { fileURLToPath } from 'node:url';
import { PairwiseError } from '@pairwise/errors';
import { openFolder } from './folder.ts';
import { observeFileSystem } from './measures.ts';
import type { BlobStore } from './store.ts';

/**
 * Opens the blob store of a URL: `file:///folder`. The folder is made if it is missing.
 * Throws INVALID_ARGUMENT for any other kind of URL.
 */
export async function openBlobStore(url: string): Promise<BlobStore> {
  if (url.startsWith('file://')) {
    const folder = fileURLToPath(url);
    const store = await openFolder(folder);
    observeFileSystem(folder);
    return store;
  }
  const scheme = /^[a-z0-9+]+:/.exec(url)?.[0] ?? 'no scheme';
  throw new PairwiseError(
    'INVALID_ARGUMENT',
    `a blob store of the kind ${scheme} is not supported by this version; give a file:// URL`,
    { field: 'PAIRWISE_BLOB_URL' },
  );
}
