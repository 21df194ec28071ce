import { FileInfo } from '@pairwise/api';
import type { Digest } from '@pairwise/fingerprint';
import { loraLayout, storedBaseModel, type LoraLayer, type ModelConfig } from '@pairwise/model';
import { openSession, type Device, type Session, type SessionSpec } from '@pairwise/ort';
import type { BlobStore } from '@pairwise/store';
import { dpoGraph, policyGraph, type Hyperparameters } from '@pairwise/training';
import { filesKey } from './inputs.ts';

/** A policy on the accelerator: the training graph, and the forward graph for evaluation. */
export interface OpenPolicy {
  config: ModelConfig;
  layout: LoraLayer[];
  training: Session;
  evaluation: Session;
}

export type Policies = ReturnType<typeof openPolicies>;

/**
 * The policy that a worker has open. It stays open from segment to segment, since compiling its graphs takes seconds, and
 * makes room for the next one when that has another model or another shape of adapter.
 */
export function openPolicies(blobs: BlobStore, { device, threads }: { device: Device; threads: number }) {
  let current: { key: string; policy: OpenPolicy; holds: AsyncDisposableStack } | undefined;

  async function close(): Promise<void> {
    const last = current;
    current = undefined;
    await last?.holds.disposeAsync();
  }

  return {
    close,
    async open(filesJson: readonly unknown[], { tuning, losses }: Hyperparameters): Promise<OpenPolicy> {
      const { value: lora } = tuning;
      const [{ type: lossType }] = losses;
      const key = `${filesKey(filesJson)} ${JSON.stringify({ lora, lossType })}`;
      if (current?.key === key) return current.policy;
      await close();
      const files = filesJson.map((file) => FileInfo.fromJSON(file) as FileInfo & { digest: Digest });
      await using opening = new AsyncDisposableStack();
      const checkpoint = opening.use(await storedBaseModel(files, blobs));
      const session = async (graph: SessionSpec['graph']) => {
        const opened = await openSession({ graph, folder: '/', device, threads });
        opening.defer(() => opened.close());
        return opened;
      };
      const policy = {
        config: checkpoint.config,
        layout: loraLayout(checkpoint.config, lora),
        training: await session(dpoGraph(checkpoint, lora, lossType)),
        evaluation: await session(policyGraph(checkpoint, lora)),
      };
      current = { key, policy, holds: opening.move() };
      return policy;
    },
  };
}
