import { fileURLToPath } from 'node:url';
import { PairwiseError } from '@pairwise/errors';
import { z } from 'zod';
import { type Look, placesOf } from './places.ts';

export type { Look, Place } from './places.ts';

export { parseAccess, roles, type AccessEntry, type Role } from './access.ts';
export { callers } from './callers.ts';

/** `host:port`, where host is a name, an IPv4 address, or an IPv6 address in brackets. */
const address = z.string().regex(/^(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}$/, 'must be host:port');
/** False if absent or empty. */
const flag = z
  .enum(['', '0', 'false', '1', 'true'], 'must be true or false')
  .default('')
  .transform((text) => text === '1' || text === 'true');
const text = z.string().min(1, 'must not be empty');
const count = z.coerce.number('must be a number').int().min(1);
const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http(s):// URL' });
/** A bucket name by S3's rules, and a prefix of plain characters. */
const blobUrl = /^(file:\/\/\/.*|s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/[\w./-]*)?)$/;

/** Whether all escapes in a `file:` URL stand for characters that a path can contain. */
function namesPath(url: string): boolean {
  try {
    if (url.startsWith('file:///')) fileURLToPath(url);
    return true;
  } catch {
    return false;
  }
}

/** Also refuses URLs that drivers reject or misread. */
const postgresUrl = z
  .url({
    protocol: /^postgres(ql)?$/,
    error:
      'must be a postgres:// URL with the special characters of its password escaped: %40 for @, %2F for /, %23 for #',
  })
  .refine(
    (url) => !/ |%(?![0-9a-f]{2})/i.test(url),
    'has a space or a % that does not begin an escape; write %20 and %25',
  )
  .refine(
    (url) => !URL.canParse(url) || new URL(url).pathname.length > 1,
    'does not name a database, as in postgres://host/database',
  )
  .refine(
    (url) => !URL.canParse(url) || !new URL(url).searchParams.has('options'),
    'must not have options, since the services set their own; use `alter role ... set` instead',
  );

/** All variables that Pairwise processes read, and their types. Each service picks the ones that it needs. */
export const variables = {
  /** Where to listen. Anything but loopback requires TLS and a token file, or PAIRWISE_INSECURE. */
  PAIRWISE_LISTEN: address,
  /**
   * A second port that serves grpc.health.v1 only, in clear text and without authentication, because Kubernetes probes
   * support neither. It reveals nothing else, so any address is safe. Default: none.
   */
  PAIRWISE_HEALTH_LISTEN: address.optional(),
  /** Folder for everything that is stored outside Postgres. */
  PAIRWISE_DATA: text,
  /**
   * Postgres, `postgres://user:password@host:port/database`. Everything is in this database; the role needs CREATE on
   * it and nothing more. For TLS, append `?sslmode=verify-full`, and `&sslrootcert=/file` for a private authority.
   */
  DATABASE_URL: postgresUrl,
  /**
   * Blob store: a folder or an S3 bucket. The AWS SDK finds the credentials. Default: `file://$PAIRWISE_DATA/blobs`.
   */
  PAIRWISE_BLOB_URL: z
    .string()
    .regex(blobUrl, 'must be file:///folder or s3://bucket/prefix')
    .refine(namesPath, 'has a % escape that a path cannot contain; write %25 for % itself')
    .optional(),
  /**
   * Folder for copies of the blobs in a bucket. Processes of one user may share it. Default: `$PAIRWISE_DATA/cache`.
   */
  PAIRWISE_CACHE: text.optional(),
  /** Most bytes of copies in that folder. It must hold at least what one process has open at once. Default: 64 GiB. */
  PAIRWISE_CACHE_BYTES: count.default(64 * 2 ** 30),
  /** S3 server other than Amazon's. AWS_ENDPOINT_URL_S3 takes precedence over AWS_ENDPOINT_URL. */
  AWS_ENDPOINT_URL_S3: httpUrl.optional(),
  AWS_ENDPOINT_URL: httpUrl.optional(),
  /** Region of the bucket. Default: what the AWS SDK finds or, with an endpoint, `us-east-1`. */
  AWS_REGION: text.optional(),
  PAIRWISE_DATASET_ADDRESS: address.default('127.0.0.1:7411'),
  PAIRWISE_REFERENCE_ADDRESS: address.default('127.0.0.1:7412'),
  PAIRWISE_TRAINING_ADDRESS: address.default('127.0.0.1:7413'),
  PAIRWISE_EXPORT_ADDRESS: address.default('127.0.0.1:7414'),
  /** Folders, separated by colons, from which models may be read with `file://`. Default: none. */
  PAIRWISE_MODEL_ROOTS: z
    .string()
    .default('')
    .transform((list) => list.split(':').filter((folder) => folder !== '')),
  /**
   * PEM files of this process's certificate chain and key, used both as a server and as a client of its peers. A
   * server's certificate must contain the names that clients connect to. The URI `spiffe://pairwise/<process>`
   * identifies the process to its peers. These and the files below are read again when they change.
   */
  PAIRWISE_TLS_CERT: text.optional(),
  PAIRWISE_TLS_KEY: text.optional(),
  /** PEM file of the authority that the certificates of servers and callers are checked against. */
  PAIRWISE_TLS_CA: text.optional(),
  /**
   * File with the bearer token that this process sends to its peers and, without an access file, requires from callers.
   */
  PAIRWISE_TOKEN_FILE: text.optional(),
  /** JSON file with the sha256 of each accepted token and its roles in projects. See `parseAccess`. */
  PAIRWISE_ACCESS_FILE: text.optional(),
  PAIRWISE_INSECURE: flag,
  /** Threads of one session on the CPU. Default: 2. */
  PAIRWISE_THREADS: count.default(2),
  /** `cpu`, `cuda` or `webgpu`. */
  PAIRWISE_DEVICE: z.enum(['cpu', 'cuda', 'webgpu'], 'must be cpu, cuda or webgpu').default('cpu'),
  /** Ends a training worker that has found no work for ten seconds, for jobs that are started when there is some. */
  PAIRWISE_EXIT_WHEN_IDLE: flag,
  HF_ENDPOINT: httpUrl.default('https://huggingface.co'),
  HF_TOKEN: text.optional(),
  HF_HOME: text.optional(),
  HF_HUB_OFFLINE: flag,
  /**
   * Owners on the hub, separated by commas, to whose repositories artifacts may be pushed, with an HF_TOKEN that has write
   * access to them. Default: none, so that nothing can be pushed.
   */
  PAIRWISE_HUB_PUSH_NAMESPACES: z
    .string()
    .default('')
    .transform((list) => list.split(',').map((owner) => owner.trim()))
    .transform((owners) => owners.filter((owner) => owner !== '')),
} as const;

type Variables = typeof variables;

/** The parsed values of the variables that a service picked. */
export type Environment<Name extends keyof Variables> = Readonly<{ [N in Name]: z.infer<Variables[N]> }>;

/**
 * Reads the named variables from an environment. Empty variables count as absent. `look` checks the files and folders
 * that they name; by default these are not checked. Throws INVALID_ARGUMENT with all problems at once, one per line.
 * Values are not repeated, since they may be secret; paths are.
 */
export function readEnvironment<Name extends keyof Variables>(
  environment: Record<string, string | undefined>,
  names: readonly Name[],
  look: Look = () => undefined,
): Environment<Name> {
  const shape = Object.fromEntries(names.map((name) => [name, variables[name]]));
  const given: Record<string, string | undefined> = Object.fromEntries(
    names.map((name) => [name, environment[name] === '' ? undefined : environment[name]]),
  );
  const parsed = z.object(shape).safeParse(given);
  const issues = parsed.error?.issues ?? [];
  const problems = issues.map(({ path, message }) => {
    const name = String(path[0]);
    return given[name] === undefined ? `${name} is not set` : `${name} ${message}`;
  });
  if ((given['PAIRWISE_TLS_CERT'] === undefined) !== (given['PAIRWISE_TLS_KEY'] === undefined)) {
    problems.push('PAIRWISE_TLS_CERT and PAIRWISE_TLS_KEY belong together: one of them is not set');
  }
  const wellFormed = { ...given };
  for (const { path } of issues) wellFormed[String(path[0])] = undefined;
  for (const { label, ...place } of placesOf(wellFormed)) {
    const problem = look(place);
    if (problem !== undefined) problems.push(`${label} ${problem}`);
  }
  if (problems.length > 0) {
    throw new PairwiseError('INVALID_ARGUMENT', `the environment is unusable:\n  ${problems.join('\n  ')}`);
  }
  return Object.freeze(parsed.data) as Environment<Name>;
}
