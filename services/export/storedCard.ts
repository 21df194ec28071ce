import type { FileInfo } from '@pairwise/api';
import type { BlobStore } from '@pairwise/store';
import { lineageOf } from './lineage.ts';
import { modelCard } from './modelCard.ts';
import type { Peers } from './peers.ts';
import type { Source } from './source.ts';
import type { CardSubject } from './verificationCard.ts';

/** Stores the model card of an artifact. Throws the errors of `lineageOf`. */
export async function storeCard(
  { blobs, peers }: { blobs: BlobStore; peers: Peers },
  { model, checkpoint }: Source,
  subject: CardSubject,
  signal: AbortSignal,
): Promise<FileInfo> {
  const lineage = checkpoint && (await lineageOf(peers, checkpoint, signal));
  const { digest, sizeBytes } = await blobs.put(Buffer.from(modelCard(subject, model, lineage)));
  return { path: 'README.md', digest, sizeBytes: BigInt(sizeBytes) };
}
