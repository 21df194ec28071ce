import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BaseQuantization,
  Coverage,
  CoverageState,
  Encoding,
  FileInfo,
  Model,
  QuantizationState,
  StartTrainingRequest,
  type TrainingSpec,
} from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { digestOf, type Digest } from '@pairwise/fingerprint';
import { quantizedLinears, readBaseModel, storedBaseModel, storedFolder, type BaseModel } from '@pairwise/model';
import { openSession } from '@pairwise/ort';
import { packPairs, responseDigest, type EncodedPair } from '@pairwise/preference';
import { streamSafetensors } from '@pairwise/safetensors';
import type { BlobStore } from '@pairwise/store';
import { referenceGraph, treeLogps, treeOf } from '@pairwise/training';
import type { Peers } from './peers.ts';

const parent = 'projects/default';
export const names = {
  model: `${parent}/models/tiny`,
  encoding: `${parent}/encodings/pairs`,
  /** An encoding with more pairs than any dataset has. */
  endless: `${parent}/encodings/endless`,
  coverage: `${parent}/coverages/whole`,
  /** The coverage under the model in int8. */
  int8: `${parent}/coverages/int8`,
  /** A coverage that is still being computed. */
  begun: `${parent}/coverages/begun`,
};

/** A request for a training of the tiny model. */
export function requestFor(trainingId: string, spec: Parameters<typeof TrainingSpec.fromPartial>[0] = {}) {
  const { model, encoding, coverage } = names;
  const evaluation = { $case: 'evalFraction' as const, value: 0.2 };
  return StartTrainingRequest.fromPartial({ parent, trainingId, model, encoding, coverage, evaluation, spec });
}

const letters = (text: string) => Int32Array.from(Buffer.from(text));

function tinyPair(_: unknown, n: number): EncodedPair {
  const [prompt, chosen, rejected] = [letters(`${n}?`), letters('yes'), letters(`no, ${'very '.repeat(n % 3)}no`)];
  const digests = { chosenDigest: responseDigest(prompt, chosen), rejectedDigest: responseDigest(prompt, rejected) };
  return { pairDigest: digestOf(Buffer.from(`pair ${n}`)), prompt, chosen, rejected, ...digests };
}

async function logpsUnder(model: BaseModel, pairs: readonly EncodedPair[]) {
  const session = await openSession({ graph: referenceGraph(model), folder: '/', threads: 1 });
  const logps = await treeLogps(session.run, model.config, pairs.map(treeOf));
  await session.close();
  return logps;
}

/**
 * Stand-ins for the other services: the tiny model in `folder`, which is ready in int8 but not in NF4, pairs, and their logps
 * under the model with and without int8.
 */
export async function tinyPeers(blobs: BlobStore, folder: string): Promise<Peers> {
  const files = await Promise.all(
    (await readdir(folder)).map(async (path): Promise<FileInfo & { digest: Digest }> => {
      const { digest, sizeBytes } = await blobs.put(await readFile(join(folder, path)));
      return { path, digest, sizeBytes: BigInt(sizeBytes) };
    }),
  );
  const pairs = Array.from({ length: 24 }, tinyPair);
  await using baseModel = await storedBaseModel(files, blobs);
  const layers = quantizedLinears(storedFolder(files, blobs), await readBaseModel(storedFolder(files, blobs)), 'INT8');
  const int8 = await blobs.put(streamSafetensors(layers));
  await using quantized = await storedBaseModel(files, blobs, { path: 'int8', ...int8 });
  const logps = new Map([
    [names.coverage, await logpsUnder(baseModel, pairs)],
    [names.int8, await logpsUnder(quantized, pairs)],
  ]);
  const quantizations = [
    { type: BaseQuantization.INT8, state: QuantizationState.READY, ...int8, sizeBytes: BigInt(int8.sizeBytes) },
    { type: BaseQuantization.NF4, state: QuantizationState.FAILED },
  ];
  const { digest: shard } = await blobs.put(packPairs(pairs));
  const complete = { state: CoverageState.COMPLETE };
  const resources = new Map<string, Model | Encoding | Coverage>([
    [names.model, Model.fromPartial({ name: names.model, architecture: 'LlamaForCausalLM', files, quantizations })],
    [names.encoding, Encoding.create({ name: names.encoding, shardDigests: [shard] })],
    [names.endless, Encoding.create({ name: names.endless, pairCount: 2 ** 31 - 1 })],
    [names.coverage, Coverage.create({ ...complete, name: names.coverage })],
    [names.int8, Coverage.create({ ...complete, name: names.int8, baseQuantization: BaseQuantization.INT8 })],
    [names.begun, Coverage.create({ name: names.begun, state: CoverageState.COMPUTING })],
  ]);
  const find = (name: string) => {
    const found = resources.get(name);
    if (found !== undefined) return Promise.resolve(found as never);
    return Promise.reject(new PairwiseError('NOT_FOUND', `name: there is no '${name}'`, { field: 'name' }));
  };
  return {
    model: { getModel: async ({ name }: Model) => ({ model: await find(name) }) },
    dataset: { getEncoding: async ({ name }: Encoding) => ({ encoding: await find(name) }) },
    reference: {
      getCoverage: async ({ name }: Coverage) => ({ coverage: await find(name) }),
      async *readLogps({ name }: Coverage) {
        const own = logps.get(name)!;
        for (const [index, { chosenDigest, rejectedDigest }] of pairs.entries()) {
          yield await Promise.resolve({ responseDigest: chosenDigest, tokenLogps: [...own[index]![0]!] });
          yield { responseDigest: rejectedDigest, tokenLogps: [...own[index]![1]!] };
        }
      },
    },
  } as unknown as Peers;
}
