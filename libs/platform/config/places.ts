import { fileURLToPath } from 'node:url';

/** A file that a process is to read, or a folder in which it is to write and which it may make. */
export interface Place {
  path: string;
  use: 'read' | 'write';
}

/** Tells what is wrong with a place, as in `cannot be read: there is no such file`; undefined where it can be used. */
export type Look = (place: Place) => string | undefined;

const files = [
  'PAIRWISE_TLS_CERT',
  'PAIRWISE_TLS_KEY',
  'PAIRWISE_TLS_CA',
  'PAIRWISE_TOKEN_FILE',
  'PAIRWISE_ACCESS_FILE',
];

/** Where an environment whose values are of a good form says that something is, each with what it is called there. */
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
    // Of no use where there is no bucket.
    {
      label: 'PAIRWISE_CACHE',
      path: blobs === undefined || inFolder ? undefined : given['PAIRWISE_CACHE'],
      use: 'write' as const,
    },
  ];
  return places.flatMap(({ path, ...rest }) => (path == null ? [] : [{ path, ...rest }]));
}
