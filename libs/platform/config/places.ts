import { fileURLToPath } from 'node:url';

/** A file to read, or a folder to write to, which may have to be created. */
export interface Place {
  path: string;
  use: 'read' | 'write';
}

/** Returns what is wrong with a place, as in `cannot be read: it does not exist`; undefined if it can be used. */
export type Look = (place: Place) => string | undefined;

const files = [
  'PAIRWISE_TLS_CERT',
  'PAIRWISE_TLS_KEY',
  'PAIRWISE_TLS_CA',
  'PAIRWISE_TOKEN_FILE',
  'PAIRWISE_ACCESS_FILE',
];

/** Returns the places that an environment with well-formed values names, each with the label it has there. */
export function placesOf(given: Readonly<Record<string, string | undefined>>): (Place & { label: string })[] {
  const { PAIRWISE_BLOB_URL: blobs, DATABASE_URL: database } = given;
  const inFolder = blobs?.startsWith('file:') === true;
  const places = [
    ...files.map((label) => ({ label, path: given[label], use: 'read' as const })),
    ...['sslrootcert', 'sslcert', 'sslkey'].map((part) => ({
      label: `${part} of DATABASE_URL`,
      path: database === undefined ? undefined : new URL(database).searchParams.get(part),
      use: 'read' as const,
    })),
    { label: 'PAIRWISE_DATA', path: given['PAIRWISE_DATA'], use: 'write' as const },
    {
      label: 'PAIRWISE_BLOB_URL',
      path: inFolder ? fileURLToPath(blobs) : undefined,
      use: 'write' as const,
    },
    // Not used without a bucket.
    {
      label: 'PAIRWISE_CACHE',
      path: blobs === undefined || inFolder ? undefined : given['PAIRWISE_CACHE'],
      use: 'write' as const,
    },
  ];
  return places.flatMap(({ path, ...rest }) => (path == null ? [] : [{ path, ...rest }]));
}
