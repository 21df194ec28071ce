import { FileInfo } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { digestOf, type Digest } from '@pairwise/fingerprint';
import { storedBaseModel, type ModelConfig } from '@pairwise/model';
import { openSession, type Device, type Session } from '@pairwise/ort';
import type { EncodedPair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import { referenceGraph, treeLogps, treeOf } from '@pairwise/training';
import type { ResponseLogps } from './shard.ts';

export type Reference = ReturnType<typeof openReference>;

/**
 * The model that a worker has on its accelerator. It is opened for the first unit that needs it and stays until a unit
 * needs another one: units of one coverage come one after the other.
 */
export function openReference(blobs: BlobStore, { device, threads }: { device: Device; threads: number }) {
  let opened: { key: Digest; config: ModelConfig; session: Session; holds: AsyncDisposableStack } | undefined;

  async function close(): Promise<void> {
    const last = opened;
    opened = undefined;
    await last?.holds.disposeAsync();
  }

  async function open(filesJson: readonly unknown[]) {
    const key = digestOf(Buffer.from(JSON.stringify(filesJson)));
    if (opened?.key === key) return opened;
    await close();
    const files = filesJson.map((file) => FileInfo.fromJSON(file) as FileInfo & { digest: Digest });
    await using opening = new AsyncDisposableStack();
    const checkpoint = opening.use(await storedBaseModel(files, blobs));
    const session = await openSession({ graph: referenceGraph(checkpoint), folder: '/', device, threads });
    opening.defer(() => session.close());
    opened = { key, config: checkpoint.config, session, holds: opening.move() };
    return opened;
  }

  return {
    /** Logps of both responses of each pair, in nats per token. Throws the signal's reason between micro-batches. */
    async logps(
      files: readonly unknown[],
      pairs: readonly EncodedPair[],
      signal: AbortSignal,
    ): Promise<ResponseLogps[]> {
      const { config, session } = await open(files);
      const segments = pairs.map(treeOf);
      const logps = await treeLogps(session.run, config, segments, {}, () => signal.throwIfAborted());
      const entries = pairs.flatMap(({ chosenDigest, rejectedDigest }, index) => [
        { response: chosenDigest, tokenLogps: logps[index]![0]! },
        { response: rejectedDigest, tokenLogps: logps[index]![1]! },
      ]);
      const broken = entries.find(({ tokenLogps }) => !tokenLogps.every(Number.isFinite));
      if (broken === undefined) return entries;
      throw new PairwiseError('NON_FINITE', `the model gives the response ${broken.response} a logp that is no number`);
    },
    close,
  };
}
