import { FileInfo } from '@pairwise/api';
import { parseDigest } from '@pairwise/fingerprint';
import { loraLayout, storedBaseModel, type LoraLayer, type ModelConfig } from '@pairwise/model';
import { sessionHolder, type Device, type Session } from '@pairwise/ort';
import type { BlobStore } from '@pairwise/store';
import {
  dpoGraph,
  policyGraph,
  rateMeter,
  type ActivationCheckpointing,
  type Hyperparameters,
  type RateMeter,
} from '@pairwise/training';
import type { BaseInputs } from './base.ts';
import { filesKey, type TrainingInputs } from './inputs.ts';

/** A policy that is open on the accelerator. */
export interface OpenPolicy {
  config: ModelConfig;
  layout: LoraLayer[];
  /** What the backward pass of `training` recomputes. */
  activationCheckpointing: ActivationCheckpointing;
  /** Forward, loss and backward, for training. */
  training: Session;
  /** Measures the rate of `training`. */
  meter: RateMeter;
  /** Forward only, for evaluation. It is opened in the first call: many trainings evaluate nothing. */
  evaluation: () => Promise<Session>;
}

/** The files of a policy's base model. */
export type PolicyBase = Pick<TrainingInputs & BaseInputs, 'files' | 'quantized'>;

/** A worker has one policy open at a time. It stays open from segment to segment. */
export interface Policies {
  /**
   * The policy of a base model for these adapter and loss settings. Closes any other first. `level` is what the backward pass
   * recomputes. @default 'cheap'
   */
  open(base: PolicyBase, settings: Hyperparameters, level?: ActivationCheckpointing): Promise<OpenPolicy>;
  /** Closes the policy that is open, if any. */
  close(): Promise<void>;
}

/** Opens policies from models in the blob store. `threads` are the CPU threads of a session. */
export function openPolicies(blobs: BlobStore, options: { device: Device; threads: number }): Policies {
  const holder = sessionHolder<OpenPolicy>(options);
  return {
    close: holder.close,
    open: ({ files, quantized }, { tuning, losses }, activationCheckpointing = 'cheap') => {
      const { value: lora } = tuning;
      const [{ type: lossType }] = losses;
      const key = `${filesKey(files)} ${JSON.stringify({ quantized, lora, lossType, activationCheckpointing })}`;
      return holder.open(key, async ({ use, session, sessionOnDemand }) => {
        const layers = quantized === undefined ? undefined : storedFile(quantized);
        const model = use(await storedBaseModel(files.map(storedFile), blobs, layers));
        return {
          config: model.config,
          layout: loraLayout(model.config, lora),
          activationCheckpointing,
          training: await session(dpoGraph(model, lora, lossType, { activationCheckpointing })),
          meter: rateMeter(),
          evaluation: sessionOnDemand(() => policyGraph(model, lora)),
        };
      });
    },
  };
}

/** A file, given as proto JSON, as the engine opens it. */
export function storedFile(json: unknown) {
  const info = FileInfo.fromJSON(json);
  return { ...info, digest: parseDigest(info.digest) };
}
