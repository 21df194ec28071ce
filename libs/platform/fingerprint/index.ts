import { createHash } from 'node:crypto';

/** `sha256:<64 hex digits>`: identifies bytes (a digest) or the recipe that makes them (a fingerprint). */
export type Digest = `sha256:${string}`;

/** What a recipe can consist of. Reals must be finite. `undefined` properties are left out, as in JSON. */
export type Recipe =
  string | number | bigint | boolean | null | undefined | readonly Recipe[] | { readonly [name: string]: Recipe };

/** Returns the digest of bytes. */
export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Computes the digest of bytes that arrive in pieces. */
export function digestStream(): { update(bytes: Uint8Array): void; digest(): Digest } {
  const hash = createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), digest: () => `sha256:${hash.digest('hex')}` };
}

/** Returns the digest of all bytes of a stream. */
export async function digestOfStream(chunks: AsyncIterable<Uint8Array>): Promise<Digest> {
  const stream = digestStream();
  for await (const chunk of chunks) stream.update(chunk);
  return stream.digest();
}

/** Returns the 64 hex digits of a digest. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/** Returns the 32 bytes of a digest, a compact form for storing many. */
export function digestBytes(digest: Digest): Uint8Array {
  return Buffer.from(hexOf(digest), 'hex');
}

/** Returns the digest with these 32 bytes. */
export function digestFromBytes(bytes: Uint8Array): Digest {
  return `sha256:${Buffer.from(bytes).toString('hex')}`;
}

/**
 * Returns the digest of a set of files, such as a model or an artifact: the digest of the list of paths and digests,
 * sorted by path.
 */
export function digestOfFiles(files: readonly { path: string; digest: string }[]): Digest {
  const list = files.map(({ path, digest }) => [path, digest] as const).sort(([a], [b]) => (a < b ? -1 : 1));
  return fingerprintOf(list);
}

/** Whether a text from outside is a well-formed digest. */
export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** Returns a text from a database, a file or another service as a digest. Throws a TypeError if it is not one. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new TypeError(`${JSON.stringify(text)} is not a digest`);
}

/**
 * Returns the fingerprint of a recipe: the sha256 of its canonical JSON (key order of RFC 8785, ECMAScript numbers).
 * Throws a TypeError for numbers that JSON cannot express.
 */
export function fingerprintOf(recipe: Recipe): Digest {
  return digestOf(Buffer.from(canonicalJson(recipe), 'utf8'));
}

/** Returns JSON with sorted keys and no white space. A bigint becomes a string of its digits with the suffix `n`. */
export function canonicalJson(recipe: Recipe): string {
  if (typeof recipe === 'number' && !Number.isFinite(recipe)) throw new TypeError(`a recipe cannot hold ${recipe}`);
  if (typeof recipe === 'bigint') return `"${recipe}n"`;
  if (recipe === null || typeof recipe !== 'object') return JSON.stringify(recipe ?? null);
  if (isList(recipe)) return `[${recipe.map(canonicalJson).join(',')}]`;
  const entries = Object.entries(recipe).filter(([, value]) => value !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${canonicalJson(value)}`).join(',')}}`;
}

function isList(recipe: object): recipe is readonly Recipe[] {
  return Array.isArray(recipe);
}
