import { FileInfo } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { digestOf, parseDigest } from '@pairwise/fingerprint';
import { storedBaseModel, type ModelConfig } from '@pairwise/model';
import { sessionHolder, type Device, type Session } from '@pairwise/ort';
import type { EncodedPair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import {
  forwardOperations,
  rateMeter,
  referenceGraph,
  treeLogps,
  treeOf,
  workSize,
  type RateMeter,
} from '@pairwise/training';
import type { ResponseLogps } from './shard.ts';
import type { ComputeInput } from './work.ts';

/** What a worker opens. */
type ModelFiles = Pick<ComputeInput, 'files' | 'quantized'>;

/** What a reference model computed. */
export interface Computed {
  /** Both responses of each pair. */
  logps: ResponseLogps[];
  /** The rate at which it was computed, in multiply-adds per second; undefined if there was too little to measure it. */
  rate?: number | undefined;
}

/** A worker has one reference model open at a time. It stays open from unit to unit. */
export interface ReferenceModel {
  /**
   * Logps of both responses of each pair under a model, in nats per token. Throws the signal's reason between
   * micro-batches, and NON_FINITE.
   */
  logps(model: ModelFiles, pairs: readonly EncodedPair[], signal: AbortSignal): Promise<Computed>;
  /** Closes the model that is open, if any. */
  close(): Promise<void>;
}

/** Opens reference models from the blob store. `threads` are the CPU threads of a session. */
export function openReferenceModel(blobs: BlobStore, options: { device: Device; threads: number }): ReferenceModel {
  const holder = sessionHolder<{ config: ModelConfig; session: Session; meter: RateMeter }>(options);
  const open = ({ files, quantized }: ModelFiles) =>
    holder.open(digestOf(Buffer.from(JSON.stringify({ files, quantized }))), async ({ use, session }) => {
      const fileOf = (json: unknown) => storedFile(FileInfo.fromJSON(json));
      const layers = quantized === undefined ? undefined : fileOf(quantized);
      const model = use(await storedBaseModel(files.map(fileOf), blobs, layers));
      return { config: model.config, session: await session(referenceGraph(model)), meter: rateMeter() };
    });
  return {
    close: holder.close,
    logps: async (model, pairs, signal) => {
      const { config, session, meter } = await open(model);
      const stopCheck = () => signal.throwIfAborted();
      const startMs = performance.now();
      const logps = await treeLogps(session.run, config, pairs.map(treeOf), {}, stopCheck);
      meter.add(forwardOperations(config, workSize(pairs)), (performance.now() - startMs) / 1000);
      const entries = pairs.flatMap(({ chosenDigest, rejectedDigest }, index) => [
        { response: chosenDigest, tokenLogps: logps[index]![0]! },
        { response: rejectedDigest, tokenLogps: logps[index]![1]! },
      ]);
      const nonFinite = entries.find(({ tokenLogps }) => !tokenLogps.every(Number.isFinite));
      if (nonFinite === undefined) return { logps: entries, rate: meter.take() };
      const message = `the model's logps of the response ${nonFinite.response} are not finite; check the model's weights`;
      throw new PairwiseError('NON_FINITE', message);
    },
  };
}

/** A file of a model as the engine opens it. */
export function storedFile(info: FileInfo) {
  return { ...info, digest: parseDigest(info.digest) };
}
