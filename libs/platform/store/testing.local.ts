// A process for s3.spec.ts that shares a cache: it opens a blob, prints its path, and keeps it open until its input
// ends.
import { once } from 'node:events';
import type { Digest } from '@pairwise/fingerprint';
import { openBlobStore } from './index.ts';

const [data, digest, capBytes] = process.argv.slice(2) as [string, Digest, string];
const store = await openBlobStore({
  PAIRWISE_DATA: data,
  PAIRWISE_BLOB_URL: 's3://blobs/cached',
  PAIRWISE_CACHE_BYTES: Number(capBytes),
  AWS_ENDPOINT_URL: process.env['AWS_ENDPOINT_URL_S3'],
});
const { path } = await store.local(digest);
console.log(path);
process.stdin.resume();
await once(process.stdin, 'end');
await store.close();
