import { Metadata, type ServiceError, status as code } from '@grpc/grpc-js';
import { Any, BadRequest, ErrorInfo, PreconditionFailure, ResourceInfo, RetryInfo, Status } from '@pairwise/api';
import { PairwiseError, type Reason, reasons } from '@pairwise/errors';
import { reasonOf, statusCodeOf } from './codes.ts';

const domain = 'pairwise';
const detailsKey = 'grpc-status-details-bin';
/** Details are sent as HTTP/2 headers, and peers limit the size of those. */
const detailsLimitBytes = 4096;
/** Most bytes of a message; of its copy and of field names in the details; and of the metadata. Together they fit. */
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
 * Cuts a text to at most `limit` bytes of UTF-8. Half a surrogate pair, which JSON from a file can contain, becomes
 * U+FFFD; otherwise grpc-js would throw while sending the status.
 */
function shorten(text: string, limit: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= limit) return text.toWellFormed();
  // A character cut in half decodes to U+FFFD.
  return `${bytes
    .subarray(0, limit - 3)
    .toString()
    .replace(/\uFFFD$/, '')}…`;
}

/** Drops the largest values until the rest fits. */
function fitting(metadata: Record<string, string>): Record<string, string> {
  const kept = Object.entries(metadata).map(([key, value]) => [key, shorten(value, briefLimit)] as const);
  // A map entry takes 6 bytes besides its key and value.
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
 * Converts an error to `google.rpc.Status`, for a reply or for a resource's `error` field. The code follows from the
 * reason. Details are ErrorInfo (domain `pairwise`) and, where they apply, BadRequest, PreconditionFailure,
 * ResourceInfo (from `metadata.name`) and RetryInfo. Anything but a PairwiseError becomes INTERNAL and reveals nothing.
 */
export function statusOf(error: unknown): Status {
  const known = knownOf(error);
  const message = shorten(known.message, messageLimit);
  return Status.create({ code: statusCodeOf[known.reason], message, details: detailsOf(known, message) });
}

function knownOf(error: unknown): PairwiseError {
  if (error instanceof PairwiseError) return error;
  return new PairwiseError('INTERNAL', "internal error; the server's log has the details");
}

function unpack<Message>(status: Status, type: string, codec: Codec<Message>): Message | undefined {
  const found = status.details.find(({ typeUrl }) => typeUrl === typePrefix + type);
  if (found === undefined) return undefined;
  try {
    return codec.decode(found.value);
  } catch {
    // A malformed detail from a peer must not hide the error itself.
    return undefined;
  }
}

const isReason = (text: string | undefined): text is Reason => reasons.some((reason) => reason === text);

/** The reverse of `statusOf`: restores reason, field and metadata. A missing status is INTERNAL. */
export function errorOf(status: Status | undefined): PairwiseError {
  if (status === undefined) return new PairwiseError('INTERNAL', 'it failed without giving a reason');
  const info = unpack(status, 'ErrorInfo', ErrorInfo);
  const field = unpack(status, 'BadRequest', BadRequest)?.fieldViolations[0]?.field;
  const known: Record<number, Reason | undefined> = reasonOf;
  const reason = info?.domain === domain && isReason(info.reason) ? info.reason : (known[status.code] ?? 'INTERNAL');
  return new PairwiseError(reason, status.message, {
    metadata: info?.metadata ?? {},
    ...(field === undefined ? {} : { field }),
  });
}

/** An error in the form that grpc-js sends. */
export interface Trailers {
  code: code;
  details: string;
  metadata: Metadata;
}

/** Converts an error to the form that grpc-js sends. */
export function toTrailers(error: unknown): Trailers {
  const status = statusOf(error);
  const metadata = new Metadata();
  const bytes = Buffer.from(Status.encode(status).finish());
  if (bytes.byteLength <= detailsLimitBytes) metadata.set(detailsKey, bytes);
  return { code: statusCodeOf[knownOf(error).reason], details: status.message, metadata };
}

/** Converts an error reported by grpc-js to the one our clients throw; `cause` is the original. */
export function fromServiceError(error: ServiceError): PairwiseError {
  const [bytes] = error.metadata.get(detailsKey);
  let status = Status.create({ code: error.code, message: error.details });
  if (Buffer.isBuffer(bytes)) {
    try {
      status = Status.decode(bytes);
    } catch {
      // The code and the message are still usable.
    }
  }
  const { reason, message, field, metadata } = errorOf(status);
  return new PairwiseError(reason, message, { metadata, cause: error, ...(field === undefined ? {} : { field }) });
}
