import {
  RunEstimate,
  type Encoding,
  type LogpsEstimate,
  type TrainingEstimate,
  type InspectModelResponse,
  type RunSpec,
} from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { CallOptions } from '@pairwise/rpc';
import type { Peers } from './peers.ts';
import { encodeFor } from './spec/encode.ts';
import type { ResolvedSpec } from './spec/resolved.ts';
import { encodedSet } from './stages/pairs.ts';

/** A spec of which `CreateRun` would accept what can be checked before the model is imported. */
export interface CheckedSpec {
  /** As the caller gave it. */
  spec: RunSpec;
  resolved: ResolvedSpec;
}

/**
 * Estimates a run on the model that `inspected` describes; undefined means that it is being imported, and nothing is known. The
 * pairs are encoded for an imported model, which the run would do as well; otherwise the longest pairs that `max_length` allows
 * stand for them. Throws OUT_OF_MEMORY if the training does not fit into the memory of every worker.
 */
export async function estimateRun(
  peers: Peers,
  parent: string,
  { spec, resolved }: CheckedSpec,
  inspected: InspectModelResponse | undefined,
  options: CallOptions,
): Promise<RunEstimate> {
  if (inspected === undefined) return RunEstimate.create({});
  const encodings = await encodeAll(peers, { spec, resolved }, options);
  if (encodings === undefined) {
    const { version } = await peers.dataset.getDatasetVersion({ name: resolved.datasetVersion }, options);
    const pairs = { pairCount: version!.pairCount, tokenCount: 0n, longestPairLength: 0 };
    return RunEstimate.create({
      training: await estimateTraining(peers, parent, resolved, inspected, [pairs], options),
    });
  }
  const [training] = encodings;
  return RunEstimate.create({
    training: await estimateTraining(peers, parent, resolved, inspected, encodings, options),
    reference: await estimateReference(peers, parent, resolved, training, options),
    pairs: encodedSet('training', training).pairs,
  });
}

/** What an estimate needs to know of an encoding. */
type EncodedPairs = Pick<Encoding, 'pairCount' | 'tokenCount' | 'longestPairLength'>;

/**
 * Estimates the training of a spec on encoded pairs: those to train on, and if there are any those to evaluate on. Throws
 * OUT_OF_MEMORY.
 */
export async function estimateTraining(
  { training }: Peers,
  parent: string,
  spec: ResolvedSpec,
  { config, dtype }: Pick<InspectModelResponse, 'config' | 'dtype'>,
  encodings: readonly [EncodedPairs, ...EncodedPairs[]],
  options: CallOptions,
): Promise<TrainingEstimate> {
  const lengths = encodings.map(({ longestPairLength }) => longestPairLength);
  const [{ pairCount, tokenCount }] = encodings;
  // Which pairs are held out is known only when the training begins; these are as many as it will be on average.
  const share = spec.evaluation?.$case === 'evalFraction' ? 1 - spec.evaluation.value : 1;
  const request = {
    parent,
    modelConfig: config,
    dtype,
    spec: spec.training,
    pairCount: Math.ceil(share * pairCount),
    tokenCount: BigInt(Math.round(share * Number(tokenCount))),
    // 0 stands for the longest that `max_length` allows; an encoding that is older than the field has it.
    longestPairLength: lengths.includes(0) ? 0 : Math.max(...lengths),
    evaluates: spec.evaluation !== undefined,
  };
  return (await training.estimateTraining(request, options)).estimate!;
}

/** The encodings of the pairs to train on and to evaluate on; undefined if the model is not imported. */
async function encodeAll(
  peers: Peers,
  { spec, resolved }: CheckedSpec,
  options: CallOptions,
): Promise<[Encoding, ...Encoding[]] | undefined> {
  const { source } = resolved.model;
  if (source.$case !== 'model') return undefined;
  const encode = (version: string) =>
    encodeFor(peers, resolved, { version, model: source.value, maxLength: spec.training?.maxLength }, options);
  const training = await encode(resolved.datasetVersion);
  const { evaluation } = resolved;
  return evaluation?.$case === 'evalDatasetVersion' ? [training, await encode(evaluation.value)] : [training];
}

/** What the reference pass over an encoding takes; undefined if the model's quantisation is not ready. */
async function estimateReference(
  { reference }: Peers,
  parent: string,
  { training: { baseQuantization } }: ResolvedSpec,
  { name: encoding, model }: Encoding,
  options: CallOptions,
): Promise<LogpsEstimate | undefined> {
  try {
    return (await reference.estimateLogps({ parent, model, encoding, baseQuantization }, options)).estimate;
  } catch (error) {
    if (error instanceof PairwiseError && error.reason === 'WRONG_STATE') return undefined;
    throw error;
  }
}
