import { join } from 'node:path';
import type { Artifact, Encoding, StartExportRequest } from '@pairwise/api';
import type { EncodedPair } from '@pairwise/preference';
import { isQuantized, usesImportance } from '@pairwise/gguf';
import { openArtifactFiles, type ArtifactFiles } from './artifactFiles.ts';
import type { ArtifactDeps } from './artifacts.ts';
import { inFolder } from './files.ts';
import { importanceOf } from './importance.ts';
import type { Peers } from './peers.ts';
import { enginePolicy } from './policy.ts';
import { noiseCaveat, quantizationCost } from './quantizationCost.ts';
import { ggufModel, openExportSource, type Source } from './source.ts';
import { textExpectationOf } from './textExpectation.ts';
import { encodedPairs, textsOf } from './verificationPairs.ts';
import { verifyGguf, type Verified, type VerificationSequence } from './verify.ts';

/**
 * Verifies an artifact for llama.cpp with pairs of the encoding that the request names for it, and measures what quantising
 * costs. An adapter is loaded over a file of its base model. Throws the errors of `verifyGguf`.
 */
export async function verifyArtifact(
  deps: ArtifactDeps,
  request: StartExportRequest,
  artifact: Artifact,
  signal: AbortSignal,
): Promise<Omit<Verified, 'logps'>> {
  const folder = join(deps.scratch, ...artifact.name.split('/'));
  return inFolder(folder, async () => {
    await using source = await openExportSource(deps, request, signal);
    await using files = await openArtifactFiles(artifact, { blobs: deps.blobs, source, folder }, signal);
    return await verifyFiles(deps, { request, source, files, folder }, signal);
  });
}

/** What is verified, and what it is compared with. */
interface Comparison {
  request: StartExportRequest;
  source: Source;
  files: ArtifactFiles;
  /** For temporary files. */
  folder: string;
}

async function verifyFiles(
  deps: ArtifactDeps,
  { request, source, files: { file, type, basePath }, folder }: Comparison,
  signal: AbortSignal,
): Promise<Omit<Verified, 'logps'>> {
  const { blobs, peers, threads } = deps;
  const encoding = await verifiedWith(peers, source, request.evalEncoding, signal);
  const pairs = await encodedPairs(blobs, encoding);
  const texts = await textsOf(peers, encoding, pairs, signal);
  const text = await textExpectationOf(source.folder, source.encoding!, texts ?? [], signal);
  const sequences = responsesOf(pairs);
  const { baseModel, adapter } = source;
  const engine = { baseModel, folder: '/', threads };
  const policyLogps = enginePolicy({ ...engine, adapter });
  const { verification, caveats, logps } = await verifyGguf({ ...file, type, text, sequences, policyLogps, signal });
  if (texts === undefined) caveats.push('the texts of pairs were not compared, because their dataset was deleted');
  if (!isQuantized(type)) return { verification, caveats };
  const base = { ...source, adapter: undefined };
  const reference = adapter && {
    base: await ggufModel(base, 'base', signal),
    path: basePath,
    importance: usesImportance(type) ? await importanceOf(deps, base, signal) : undefined,
    logps: await enginePolicy({ ...engine, adapter: undefined })(sequences, signal),
  };
  const policy = await ggufModel(source, 'policy', signal);
  const quantized = { ...file, type, policy, sequences, logps, reference };
  const cost = await quantizationCost(join(folder, 'cost'), quantized, signal);
  const noise = noiseCaveat(type, cost);
  return {
    verification: { ...verification, quantizationCost: cost },
    caveats: noise === undefined ? caveats : [...caveats, noise],
  };
}

/** The chosen and the rejected response of each pair in turn. */
function responsesOf(pairs: readonly EncodedPair[]): VerificationSequence[] {
  return pairs.flatMap(({ prompt, chosen, rejected }) => [
    { prompt, response: chosen },
    { prompt, response: rejected },
  ]);
}

async function verifiedWith(
  peers: Peers,
  { encoding }: Source,
  evalEncoding: string,
  signal: AbortSignal,
): Promise<Encoding> {
  if (evalEncoding === '') return encoding!;
  return (await peers.dataset.getEncoding({ name: evalEncoding }, { signal })).encoding!;
}
