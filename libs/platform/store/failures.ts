import { PairwiseError } from '@pairwise/errors';

const refused = 'refuses the credentials; correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN';
const denied =
  'denies access; grant s3:ListBucket on the bucket and s3:GetObject, PutObject, DeleteObject and AbortMultipartUpload ' +
  'on its objects, or correct the credentials';
const absent = 'does not exist; make the bucket, or correct PAIRWISE_BLOB_URL';
const elsewhere = 'is in another region; correct AWS_REGION';

/** What is wrong, and the remedy, by the name of S3's error. All of it is for the operator to mend, and then passes. */
const meanings = new Map([
  ['NoSuchBucket', absent],
  ['NotFound', absent],
  ['NoSuchUpload', 'has given up an upload that was under way'],
  ['InvalidAccessKeyId', refused],
  ['SignatureDoesNotMatch', refused],
  ['InvalidToken', refused],
  ['ExpiredToken', refused],
  ['AccessDenied', denied],
  ['PermanentRedirect', elsewhere],
  ['AuthorizationHeaderMalformed', elsewhere],
  ['RequestTimeTooSkewed', "finds this machine's clock wrong; set it"],
  ['BadDigest', 'got other bytes than were sent'],
  ['XAmzContentChecksumMismatch', 'got other bytes than were sent'],
  ['XAmzContentSHA256Mismatch', 'got other bytes than were sent'],
  ['CredentialsProviderError', 'needs credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give a role'],
]);

/** An answer to HEAD has no body that tells a name. */
const namesOfStatus = new Map([
  [301, 'PermanentRedirect'],
  [403, 'AccessDenied'],
]);

interface Failure {
  name: string;
  message: string;
  code?: unknown;
  $metadata?: { httpStatusCode?: number };
}

/** Whether there is no such object. */
export const isMissing = (error: unknown): boolean => ['NoSuchKey', 'NotFound'].includes((error as Failure).name);

/**
 * What the AWS SDK threw, after its own retries, as UNAVAILABLE that says what is wrong with the store: work waits until
 * that has passed. An answer that only a defect of ours explains stays what it is.
 */
export function fromS3(error: unknown, place: string): unknown {
  if (error instanceof PairwiseError || !(error instanceof Error)) return error;
  const { name, message, code, $metadata } = error as Failure;
  const status = $metadata?.httpStatusCode;
  const meaning = meanings.get(name) ?? meanings.get(namesOfStatus.get(status ?? 0) ?? '');
  const isAway = status === undefined ? typeof code === 'string' || name === 'TimeoutError' : status >= 500;
  if (meaning === undefined && !isAway && status !== 429) return error;
  const problem = meaning ?? `cannot be reached (${typeof code === 'string' ? code : name}: ${message})`;
  return new PairwiseError('UNAVAILABLE', `the blob store ${place} ${problem}`, { cause: error });
}
