import { ExportState, Verification } from '@pairwise/api';
import { thrice, type Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import { unpackPairs } from '@pairwise/preference';
import { count } from '@pairwise/telemetry';
import { makeArtifact, type Workshop } from './artifacts.ts';
import type { Exports, Fence } from './exports.ts';
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
export async function runExport(exporter: Exporter, name: string, attempt: Attempt): Promise<void> {
  const { exports } = exporter;
  const { step, fence } = attempt;
  const enter = async (state: ExportState, error?: unknown) => {
    await exports.enter(name, state, error, fence);
  };
  try {
    const targets = await step('begin', async () => {
      await enter(ExportState.RUNNING);
      const { request } = await exports.get(name);
      return request.targets.map((target) => ({ name: target.name, isGguf: target.format?.$case === 'gguf' }));
    });
    for (const target of targets) {
      await step(`make ${target.name}`, (signal) =>
        thrice(signal, () => make(exporter, name, target.name, fence, signal)),
      );
    }
    await step('made', () => enter(ExportState.VERIFYING));
    for (const target of targets.filter(({ isGguf }) => isGguf)) {
      await step(`verify ${target.name}`, (signal) =>
        thrice(signal, () => verify(exporter, name, target.name, fence, signal)),
      );
    }
    await step('succeed', () => enter(ExportState.SUCCEEDED));
  } catch (error) {
    const cancelled = error instanceof PairwiseError && error.reason === 'CANCELLED';
    const state = cancelled ? ExportState.CANCELLED : ExportState.FAILED;
    await step('fail', () => enter(state, cancelled ? undefined : error), { evenIfCancelled: true });
  }
}

/** Makes the artifact of one target, unless an attempt before this one has finished it. */
async function make(exporter: Exporter, name: string, targetName: string, fence: Fence, signal: AbortSignal) {
  const { exports } = exporter;
  const { export: exported, request } = await exports.get(name);
  const place = { name: `${name}/artifacts/${targetName}`, baseName: request.baseName };
  if (exported.artifacts.some((artifact) => artifact.name === place.name)) return;
  const target = request.targets.find((each) => each.name === targetName)!;
  await using source = await openSource(exporter, request.source, signal);
  const artifact = await makeArtifact(exporter, source, target, place, signal);
  await exports.addArtifact(name, artifact, fence);
  const sizeBytes = artifact.files.reduce((sum, file) => sum + Number(file.sizeBytes), 0);
  const { format, type } = artifact;
  count('pairwise.export.size', sizeBytes, { 'pairwise.artifact.format': format, 'pairwise.artifact.type': type });
}

async function verify(exporter: Exporter, name: string, targetName: string, fence: Fence, signal: AbortSignal) {
  const { blobs, exports, threads } = exporter;
  const { export: exported, request } = await exports.get(name);
  const artifactName = `${name}/artifacts/${targetName}`;
  const artifact = exported.artifacts.find((each) => each.name === artifactName)!;
  const file = artifact.files.find(({ path }) => path.endsWith('.gguf'))!;
  await using source = await openSource(exporter, request.source, signal);
  await using gguf = await blobs.local(file.digest as Digest);
  const found = await verifyGguf({
    path: gguf.path,
    type: artifact.type as GgufType,
    sequences: await readSequences(exporter, request.encoding, signal),
    policyLogps: enginePolicy({ checkpoint: source.checkpoint, folder: '/', adapter: source.adapter, threads }),
    signal,
  });
  const { maxAbsLogpDiff, meanAbsLogpDiff, sequences: sequenceCount, tokens: tokenCount, tolerance } = found;
  const figures = { maxAbsLogpDiff, meanAbsLogpDiff, sequenceCount, tokenCount, tolerance };
  await exports.addVerification(name, artifactName, Verification.create(figures), fence);
}

async function readSequences(
  { blobs, peers }: Exporter,
  encodingName: string,
  signal: AbortSignal,
): Promise<VerificationSequence[]> {
  const { encoding } = await peers.dataset.getEncoding({ name: encodingName }, { signal });
  const pairs = unpackPairs(await blobs.get(encoding!.shardDigests[0] as Digest)).slice(0, verificationPairs);
  return pairs.flatMap(({ prompt, chosen, rejected }) => [
    { prompt, response: chosen },
    { prompt, response: rejected },
  ]);
}
