import { FileInfo } from '@pairwise/api';
import { parseDigest } from '@pairwise/fingerprint';
import { loraLayout, storedBaseModel, type LoraLayer, type ModelConfig } from '@pairwise/model';
import { sessionHolder, type Device, type Session } from '@pairwise/ort';
import type { BlobStore } from '@pairwise/store';
import { dpoGraph, policyGraph, rateMeter, type Hyperparameters, type RateMeter } from '@pairwise/training';
import { filesKey } from './inputs.ts';

/** A policy that is open on the accelerator. */
export interface OpenPolicy {
  config: ModelConfig;
  layout: LoraLayer[];
  /** Forward, loss and backward, for training. */
  training: Session;
  /** Measures the rate of `training`. */
  meter: RateMeter;
  /** Forward only, for evaluation. It is opened in the first call: many trainings evaluate nothing. */
  evaluation: () => Promise<Session>;
}

/** A worker has one policy open at a time. It stays open from segment to segment. */
export interface Policies {
  /** The policy of a model, given its files as proto JSON, for these adapter and loss settings. Closes any other first. */
  open(filesJson: readonly unknown[], settings: Hyperparameters): Promise<OpenPolicy>;
  /** Closes the policy that is open, if any. */
  close(): Promise<void>;
}

/** Opens policies from models in the blob store. `threads` are the CPU threads of a session. */
export function openPolicies(blobs: BlobStore, options: { device: Device; threads: number }): Policies {
  const holder = sessionHolder<OpenPolicy>(options);
  return {
    close: holder.close,
    open: (filesJson, { tuning, losses }) => {
      const { value: lora } = tuning;
      const [{ type: lossType }] = losses;
      const key = `${filesKey(filesJson)} ${JSON.stringify({ lora, lossType })}`;
      return holder.open(key, async ({ use, session, sessionOnDemand }) => {
        const infos = filesJson.map((file) => FileInfo.fromJSON(file));
        const files = infos.map((info) => ({ ...info, digest: parseDigest(info.digest) }));
        const model = use(await storedBaseModel(files, blobs));
        return {
          config: model.config,
          layout: loraLayout(model.config, lora),
          training: await session(dpoGraph(model, lora, lossType)),
          meter: rateMeter(),
          evaluation: sessionOnDemand(() => policyGraph(model, lora)),
        };
      });
    },
  };
}
