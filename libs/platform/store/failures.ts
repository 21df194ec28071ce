import { PairwiseError } from '@pairwise/errors';

const refused = 'refuses the credentials; correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN';
const denied =
  'denies access; grant s3:ListBucket on the bucket and s3:GetObject, PutObject, DeleteObject and AbortMultipartUpload ' +
  'on its objects, or correct the credentials';
const absent = 'does not exist; create the bucket, or correct PAIRWISE_BLOB_URL';
const elsewhere = 'is in another region; correct AWS_REGION';

/**
 * What is wrong and how to fix it, by the name of S3's error. An operator can fix all of these, so retries then
 * succeed.
 */
const meanings = new Map([
  ['NoSuchBucket', absent],
  ['NotFound', absent],
  ['NoSuchUpload', 'aborted an unfinished upload'],
  ['InvalidAccessKeyId', refused],
  ['SignatureDoesNotMatch', refused],
  ['InvalidToken', refused],
  ['ExpiredToken', refused],
  ['AccessDenied', denied],
  ['PermanentRedirect', elsewhere],
  ['AuthorizationHeaderMalformed', elsewhere],
  ['RequestTimeTooSkewed', 'rejects the time of this machine; set its clock'],
  ['BadDigest', 'received different bytes than were sent'],
  ['XAmzContentChecksumMismatch', 'received different bytes than were sent'],
  ['XAmzContentSHA256Mismatch', 'received different bytes than were sent'],
  ['CredentialsProviderError', 'needs credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or assign a role'],
]);

/** The response to HEAD has no body that could contain the error's name. */
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

/** Whether the error says that the object does not exist. */
export const isMissing = (error: unknown): boolean => ['NoSuchKey', 'NotFound'].includes((error as Failure).name);

/**
 * Converts what the AWS SDK threw, after its own retries, to an UNAVAILABLE that says what is wrong with the store:
 * work waits until that is fixed. An answer that only a bug of ours explains is returned as it is.
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
