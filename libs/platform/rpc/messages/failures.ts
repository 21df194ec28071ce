import { Metadata, type ServiceError, status as code } from '@grpc/grpc-js';
import { Any, BadRequest, ErrorInfo, PreconditionFailure, ResourceInfo, RetryInfo, Status } from '@pairwise/api';
import { PairwiseError, type Reason, reasons } from '@pairwise/errors';
import { reasonOf, statusCodeOf } from './codes.ts';

const domain = 'pairwise.v1';
const detailsKey = 'grpc-status-details-bin';
/** Details ride in HTTP/2 headers, which peers cap. */
const detailsLimitBytes = 4096;
/** Bytes of a message, and of its repetition and of field names in details; together with metadata they fit. */
const messageLimit = 1000;
const briefLimit = 300;
const metadataLimit = 1000;

const typePrefix = 'type.googleapis.com/google.rpc.';

interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

const pack = <Message>(type: string, codec: Codec<Message>, message: Message): Any => ({
  typeUrl: typePrefix + type,
  value: Buffer.from(codec.encode(message).finish()),
});

/**
 * At most `limit` bytes of a text as UTF-8. Half a surrogate pair, as a file's JSON can hold, becomes U+FFFD: grpc-js would
 * throw on it while it sends the status.
 */
function shorten(text: string, limit: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= limit) return text.toWellFormed();
  // A letter that was cut in two reads as U+FFFD.
  return `${bytes
    .subarray(0, limit - 3)
    .toString()
    .replace(/\uFFFD$/, '')}…`;
}

/** Drops the largest values until the rest is small enough to ride along. */
function fitting(metadata: Record<string, string>): Record<string, string> {
  const kept = Object.entries(metadata).map(([key, value]) => [key, shorten(value, briefLimit)] as const);
  // A map's entry has 6 bytes besides key and value.
  const sizeOf = ([key, value]: readonly [string, string]) => Buffer.byteLength(key + value) + 6;
  kept.sort((a, b) => sizeOf(a) - sizeOf(b));
  let size = 0;
  return Object.fromEntries(kept.filter((entry) => (size += sizeOf(entry)) <= metadataLimit));
}

function detailsOf({ reason, field, metadata }: PairwiseError, message: string): Any[] {
  const details = [pack('ErrorInfo', ErrorInfo, ErrorInfo.create({ reason, domain, metadata: fitting(metadata) }))];
  const grpc = statusCodeOf[reason];
  const brief = shorten(message, briefLimit);
  if (field !== undefined) {
    const fieldViolations = [
      { field: shorten(field, briefLimit), description: brief, reason, localizedMessage: undefined },
    ];
    details.push(pack('BadRequest', BadRequest, BadRequest.create({ fieldViolations })));
  }
  if (grpc === code.FAILED_PRECONDITION) {
    const violations = [{ type: reason, subject: metadata['name'] ?? '', description: brief }];
    details.push(pack('PreconditionFailure', PreconditionFailure, PreconditionFailure.create({ violations })));
  }
  if ((grpc === code.NOT_FOUND || grpc === code.ALREADY_EXISTS) && metadata['name'] !== undefined) {
    const resourceName = metadata['name'];
    details.push(pack('ResourceInfo', ResourceInfo, ResourceInfo.create({ resourceName, description: brief })));
  }
  if (grpc === code.UNAVAILABLE) {
    details.push(pack('RetryInfo', RetryInfo, RetryInfo.create({ retryDelay: { seconds: 1n, nanos: 0 } })));
  }
  return details;
}

/**
 * An error as `google.rpc.Status`, for a reply or for a resource's `error` field. The code follows from the reason;
 * details are ErrorInfo (domain `pairwise.v1`) and, where they fit, BadRequest, PreconditionFailure, ResourceInfo (of
 * `metadata.name`) and RetryInfo. An error that is no PairwiseError becomes INTERNAL and tells nothing of itself.
 */
export function statusOf(error: unknown): Status {
  const known = knownOf(error);
  const message = shorten(known.message, messageLimit);
  return Status.create({ code: statusCodeOf[known.reason], message, details: detailsOf(known, message) });
}

function knownOf(error: unknown): PairwiseError {
  if (error instanceof PairwiseError) return error;
  return new PairwiseError('INTERNAL', 'a defect of the server; its log has the details');
}

function unpack<Message>(status: Status, type: string, codec: Codec<Message>): Message | undefined {
  const found = status.details.find(({ typeUrl }) => typeUrl === typePrefix + type);
  if (found === undefined) return undefined;
  try {
    return codec.decode(found.value);
  } catch {
    // A peer's broken detail must not hide its error.
    return undefined;
  }
}

const isReason = (text: string | undefined): text is Reason => reasons.some((reason) => reason === text);

/** The reverse of `statusOf`: reason, field and metadata come back. A missing status is INTERNAL. */
export function errorOf(status: Status | undefined): PairwiseError {
  if (status === undefined) return new PairwiseError('INTERNAL', 'it failed without telling why');
  const info = unpack(status, 'ErrorInfo', ErrorInfo);
  const field = unpack(status, 'BadRequest', BadRequest)?.fieldViolations[0]?.field;
  const known: Record<number, Reason | undefined> = reasonOf;
  const reason = info?.domain === domain && isReason(info.reason) ? info.reason : (known[status.code] ?? 'INTERNAL');
  return new PairwiseError(reason, status.message, {
    metadata: info?.metadata ?? {},
    ...(field === undefined ? {} : { field }),
  });
}

/** An error in the form in which grpc-js sends it. */
export function toTrailers(error: unknown): { code: code; details: string; metadata: Metadata } {
  const status = statusOf(error);
  const metadata = new Metadata();
  const bytes = Buffer.from(Status.encode(status).finish());
  if (bytes.byteLength <= detailsLimitBytes) metadata.set(detailsKey, bytes);
  return { code: statusCodeOf[knownOf(error).reason], details: status.message, metadata };
}

/** What a client of ours throws for an error that grpc-js reported; `cause` is the original. */
export function fromServiceError(error: ServiceError): PairwiseError {
  const [bytes] = error.metadata.get(detailsKey);
  let status = Status.create({ code: error.code, message: error.details });
  if (Buffer.isBuffer(bytes)) {
    try {
      status = Status.decode(bytes);
    } catch {
      // The code and the message are still good.
    }
  }
  const { reason, message, field, metadata } = errorOf(status);
  return new PairwiseError(reason, message, { metadata, cause: error, ...(field === undefined ? {} : { field }) });
}
