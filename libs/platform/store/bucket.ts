import { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { PairwiseError } from '@pairwise/errors';
import { type Digest, digestBytes, digestStream } from '@pairwise/fingerprint';
import { blobPath, expectDigest, missing } from './content.ts';
import { fromS3, isMissing } from './failures.ts';

/** The smallest part of an upload, in bytes; S3 allows 10,000 parts. */
const partBytes = 8 * 1024 * 1024;
const mostParts = 10_000;
/** Parts that are uploaded at the same time. This and `partBytes` bound the memory of an upload. */
const partsAtOnce = 4;
/** How many connections in a row may break without delivering a byte before a download fails. */
const mostBreaks = 4;

/** The blobs under a prefix of an S3 bucket. All methods throw UNAVAILABLE if the server cannot be reached. */
export interface Bucket {
  /** `s3://bucket/prefix`, for messages. */
  readonly place: string;
  /** Returns the size of a blob's object; undefined if there is none. */
  stat(digest: Digest): Promise<{ sizeBytes: number } | undefined>;
  /**
   * Streams bytes `start` to `end` (exclusive) of a blob without verifying them. Resumes after a broken connection.
   * Throws NOT_FOUND.
   */
  bytes(digest: Digest, start: number, end: number): AsyncGenerator<Buffer, void>;
  /**
   * Stores a blob's bytes. The server verifies the sha256 of each part but cannot verify the whole, so the whole is
   * verified here before the parts become an object. If that fails, there is no object.
   */
  put(digest: Digest, sizeBytes: number, content: () => AsyncIterable<Uint8Array>): Promise<void>;
  /** Deletes a blob's object, if there is one. */
  delete(digest: Digest): Promise<void>;
  close(): void;
}

/** Where the S3 server is. */
export interface S3Place {
  /** `http(s)://host:port` of a server other than Amazon's. The bucket is then part of the path. */
  endpoint?: string | undefined;
  /**
   * Default: what the AWS SDK finds or, with an endpoint, `us-east-1`, since requests are always signed for a region.
   */
  region?: string | undefined;
}

/**
 * Opens `s3://bucket/prefix` without contacting the server yet. The AWS SDK finds the credentials. Each request is
 * attempted up to five times with growing pauses (the SDK's standard mode); after that it is UNAVAILABLE. Throws
 * INVALID_ARGUMENT if no region is found.
 */
export async function openBucket(
  url: string,
  { endpoint, region = endpoint && 'us-east-1' }: S3Place,
): Promise<Bucket> {
  const { hostname: name, pathname } = new URL(url);
  const prefix = pathname.split('/').filter((part) => part !== '');
  const client = new S3Client({
    maxAttempts: 5,
    retryMode: 'standard',
    ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
    ...(region !== undefined && { region }),
    // Blobs have digests, so the SDK need not add checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: 5000, socketTimeout: 60_000 },
  });
  await client.config.region().catch((cause: unknown) => {
    const message = 'AWS_REGION is not set; name the region of the bucket of PAIRWISE_BLOB_URL';
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'AWS_REGION', cause });
  });
  const place = [`s3://${name}`, ...prefix].join('/');
  const objectOf = (digest: Digest) => ({ Bucket: name, Key: [...prefix, blobPath(digest)].join('/') });
  const rethrow = (error: unknown): never => {
    throw fromS3(error, place);
  };

  async function* body(digest: Digest, start: number, end: number): AsyncGenerator<Buffer> {
    const range = { ...objectOf(digest), Range: `bytes=${start}-${end - 1}` };
    const { Body } = await client.send(new GetObjectCommand(range));
    yield* Body as Readable;
  }

  let bucketSeen = false;

  return {
    place,
    async stat(digest: Digest): Promise<{ sizeBytes: number } | undefined> {
      try {
        const { ContentLength } = await client.send(new HeadObjectCommand(objectOf(digest)));
        return { sizeBytes: ContentLength! };
      } catch (error) {
        if (!isMissing(error)) return rethrow(error);
        // A missing bucket gets the same answer, and must not be mistaken for a missing blob.
        if (!bucketSeen) await client.send(new HeadBucketCommand({ Bucket: name })).catch(rethrow);
        bucketSeen = true;
        return undefined;
      }
    },

    async *bytes(digest: Digest, start: number, end: number): AsyncGenerator<Buffer, void> {
      for (let [at, breaks] = [start, 0]; at < end;) {
        try {
          for await (const chunk of body(digest, at, end)) {
            at += chunk.length;
            breaks = 0;
            yield chunk;
          }
          if (at < end) throw Object.assign(new Error('the answer is too short'), { code: 'ECONNRESET' });
        } catch (error) {
          if (isMissing(error)) throw missing(digest);
          const failure = fromS3(error, place);
          const broke = failure instanceof PairwiseError && (error as { code?: unknown }).code !== undefined;
          if (!broke || ++breaks > mostBreaks) throw failure;
        }
      }
    },

    async put(digest: Digest, sizeBytes: number, content: () => AsyncIterable<Uint8Array>): Promise<void> {
      try {
        if (sizeBytes <= partBytes) {
          const Body = Buffer.concat(await Array.fromAsync(content()));
          const ChecksumSHA256 = Buffer.from(digestBytes(digest)).toString('base64');
          await client.send(new PutObjectCommand({ ...objectOf(digest), Body, ChecksumSHA256 }));
          return;
        }
        const upload = new Upload({
          client,
          params: { ...objectOf(digest), Body: Readable.from(checked(digest, content())), ChecksumAlgorithm: 'SHA256' },
          partSize: Math.max(partBytes, Math.ceil(sizeBytes / mostParts)),
          queueSize: partsAtOnce,
        });
        await upload.done();
      } catch (error) {
        rethrow(error);
      }
    },

    async delete(digest: Digest): Promise<void> {
      await client.send(new DeleteObjectCommand(objectOf(digest))).catch(rethrow);
    },

    close: () => client.destroy(),
  };
}

/** Passes bytes through, and throws DIGEST_MISMATCH at the end if they do not have the digest. */
async function* checked(digest: Digest, content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const hash = digestStream();
  for await (const chunk of content) {
    hash.update(chunk);
    yield chunk;
  }
  expectDigest(hash.digest(), digest);
}
