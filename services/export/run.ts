import { ExportState, Verification } from '@pairwise/api';
import type { Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import { unpackPairs } from '@pairwise/preference';
import { makeArtifact, type Workshop } from './artifacts.ts';
import type { Exports } from './exports.ts';
import type { Peers } from './peers.ts';
import { enginePolicy } from './policy.ts';
import { openSource } from './source.ts';
import { verifyGguf, type GgufType, type VerificationSequence } from './verify.ts';

/** What an export is made with. */
export interface Exporter extends Workshop {
  exports: Exports;
  peers: Peers;
  threads: number;
}

/** Pairs whose responses a GGUF file is verified with. */
const verificationPairs = 8;

/** Makes every artifact of an export, each in a durable step, and then proves the GGUF files against llama.cpp. */
export async function runExport(exporter: Exporter, name: string, { step, fence }: Attempt): Promise<void> {
  const { exports } = exporter;
  try {
    const { request } = await exports.get(name);
    await step('begin', () => enter(exports, name, ExportState.RUNNING));
    for (const target of request.targets) {
      await step(`make ${target.name}`, async (signal) => {
        const place = { name: `${name}/artifacts/${target.name}`, baseName: request.baseName };
        // An attempt before this one may have finished it.
        const { artifacts } = (await exports.get(name)).export;
        if (artifacts.some((artifact) => artifact.name === place.name)) return;
        const source = await openSource(exporter, request.source);
        await exports.addArtifact(name, await makeArtifact(exporter, source, target, place, signal), fence);
      });
    }
    await step('made', () => enter(exports, name, ExportState.VERIFYING));
    for (const target of request.targets.filter(({ format }) => format?.$case === 'gguf')) {
      await step(`verify ${target.name}`, () => verify(exporter, name, `${name}/artifacts/${target.name}`));
    }
    await step('succeed', () => enter(exports, name, ExportState.SUCCEEDED));
  } catch (error) {
    const cancelled = error instanceof PairwiseError && error.reason === 'CANCELLED';
    const state = cancelled ? ExportState.CANCELLED : ExportState.FAILED;
    await step('fail', () => enter(exports, name, state, cancelled ? undefined : error), { evenIfCancelled: true });
  }
}

async function enter(exports: Exports, name: string, state: ExportState, error?: unknown): Promise<void> {
  await exports.enter(name, state, error);
}

async function verify(exporter: Exporter, name: string, artifactName: string): Promise<void> {
  const { blobs, exports, threads } = exporter;
  const { export: exported, request } = await exports.get(name);
  const artifact = exported.artifacts.find((each) => each.name === artifactName)!;
  const file = artifact.files.find(({ path }) => path.endsWith('.gguf'))!;
  const { checkpoint, adapter } = await openSource(exporter, request.source);
  const found = await verifyGguf({
    path: await blobs.localPath(file.digest as Digest),
    type: artifact.type as GgufType,
    sequences: await readSequences(exporter, request.encoding),
    policyLogps: enginePolicy({ checkpoint, folder: '/', adapter, threads }),
  });
  const { maxAbsLogpDiff, meanAbsLogpDiff, sequences: sequenceCount, tokens: tokenCount, tolerance } = found;
  const figures = { maxAbsLogpDiff, meanAbsLogpDiff, sequenceCount, tokenCount, tolerance };
  await exports.addVerification(name, artifactName, Verification.create(figures));
}

async function readSequences({ blobs, peers }: Exporter, encodingName: string): Promise<VerificationSequence[]> {
  const { encoding } = await peers.dataset.getEncoding({ name: encodingName });
  const pairs = unpackPairs(await blobs.get(encoding!.shardDigests[0] as Digest)).slice(0, verificationPairs);
  return pairs.flatMap(({ prompt, chosen, rejected }) => [
    { prompt, response: chosen },
    { prompt, response: rejected },
  ]);
}
