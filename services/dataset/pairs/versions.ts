import { DatasetVersion, type PreferencePair as PairMessage, type ReadPairsResponse, type Turn } from '@pairwise/api';
import { openDocuments, type Database, type Documents } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { parseDigest } from '@pairwise/fingerprint';
import { pairDigest, type PreferencePair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import { pairOf, splitLines } from './lines.ts';

export const versionPattern = 'projects/{project}/datasets/{dataset}/versions/{version}';

/**
 * The versions in Postgres. A version's digest names a blob that contains its pairs, one line of canonical JSON per
 * pair.
 */
export type Versions = Documents<DatasetVersion>;

export function openVersions(database: Database): Versions {
  return openDocuments(database, 'versions', 'dataset version', DatasetVersion);
}

/** Reads the pairs of a version in canonical order. */
export async function* versionPairs(blobs: BlobStore, { digest }: DatasetVersion): AsyncGenerator<PreferencePair> {
  for await (const line of splitLines(blobs.read(parseDigest(digest)))) yield pairOf(line);
}

/** Implements `ReadPairs`. */
export async function* readPairs(
  blobs: BlobStore,
  version: DatasetVersion,
  { offset, limit }: { offset: number; limit: number },
): AsyncGenerator<ReadPairsResponse> {
  for (const [field, value] of Object.entries({ offset, limit })) {
    if (value >= 0) continue;
    throw new PairwiseError('INVALID_ARGUMENT', `${field} is ${value}; it must not be negative`, { field });
  }
  const end = limit === 0 ? Infinity : offset + limit;
  let position = 0;
  for await (const pair of versionPairs(blobs, version)) {
    if (position >= end) return;
    if (position >= offset) yield { pair: pairMessage(pair), position };
    position += 1;
  }
}

function pairMessage(pair: PreferencePair): PairMessage {
  return {
    digest: pairDigest(pair),
    prompt: turnMessage(pair.prompt),
    chosen: turnMessage(pair.chosen),
    rejected: turnMessage(pair.rejected),
  };
}

function turnMessage(turn: PreferencePair['prompt']): Turn {
  return typeof turn === 'string' ? { text: turn, messages: [] } : { messages: [...turn] };
}
