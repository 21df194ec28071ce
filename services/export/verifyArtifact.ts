import { join } from 'node:path';
import { Sample, type Artifact, type Encoding, type QuantizationCost, type StartExportRequest } from '@pairwise/api';
import { digestOfFiles } from '@pairwise/fingerprint';
import { ggufContextLength, isQuantized, usesImportance } from '@pairwise/gguf';
import { openArtifactFiles, type ArtifactFiles } from './artifactFiles.ts';
import type { ArtifactDeps } from './artifacts.ts';
import { verifyExact } from './exactFile.ts';
import { inFolder } from './files.ts';
import { writeGgufArtifact } from './gguf.ts';
import { importanceOf } from './importance.ts';
import type { Peers } from './peers.ts';
import { enginePolicy } from './policy.ts';
import type { TokenLogps } from './pairFigures.ts';
import {
  divergenceLimit,
  noiseCaveat,
  quantizationCost,
  type QuantizedFile,
  type Yardstick,
} from './quantizationCost.ts';
import { answersOf } from './samples.ts';
import { ggufModel, openExportSource, type Source } from './source.ts';
import { storeCard } from './storedCard.ts';
import { textExpectationOf } from './textExpectation.ts';
import { textsOf, verificationPairs } from './verificationPairs.ts';
import { verifyGguf, type PolicyLogps, type LoadedFile, type Verified } from './verify.ts';

/**
 * Verifies an artifact for llama.cpp with pairs of the encoding that the request names for it, measures what quantising
 * costs, and has it answer the sample prompts. An adapter is loaded over a file of its base model. Returns the artifact with
 * what was found, and with a model card that says so. Throws the errors of `verifyGguf` and `quantizationCost`.
 */
export async function verifyArtifact(
  deps: ArtifactDeps,
  request: StartExportRequest,
  artifact: Artifact,
  signal: AbortSignal,
): Promise<Artifact> {
  const folder = join(deps.scratch, ...artifact.name.split('/'));
  return inFolder(folder, async () => {
    await using source = await openExportSource(deps, request, signal);
    await using files = await openArtifactFiles(artifact, { blobs: deps.blobs, source, folder }, signal);
    const findings = await verifyFiles(deps, { request, source, files, folder }, signal);
    const caveats = [...new Set([...artifact.caveats, ...findings.caveats])];
    const verified = { ...artifact, ...findings, caveats };
    const card = await storeCard(deps, source, verified, signal);
    const others = artifact.files.filter(({ path }) => path !== card.path);
    const withCard = [...others, card];
    return { ...verified, files: withCard, digest: digestOfFiles(withCard) };
  });
}

interface ArtifactFindings extends Omit<Verified, 'policyLogps'> {
  samples: Sample[];
}

/** What is verified, and what it is compared with. */
interface Comparison {
  request: StartExportRequest;
  source: Source;
  files: ArtifactFiles;
  /** For temporary files. */
  folder: string;
}

async function verifyFiles(deps: ArtifactDeps, comparison: Comparison, signal: AbortSignal): Promise<ArtifactFindings> {
  const { blobs, peers } = deps;
  const { request, source, files } = comparison;
  const { file, type } = files;
  const encoding = await verifiedWith(peers, source, request.evalEncoding, signal);
  const longest = ggufContextLength(source.baseModel.config);
  const { pairs, sequences, caveats: leftOut } = await verificationPairs(blobs, encoding, longest);
  const texts = await textsOf(peers, encoding, pairs, signal);
  const text = await textExpectationOf(source.folder, source.encoding!, texts ?? [], signal);
  const verified = await verifyGguf({ ...file, type, text, sequences, policyLogps: engineOf(deps, source), signal });
  const { verification } = verified;
  const caveats = [...verified.caveats, ...leftOut];
  if (texts === undefined) caveats.push('the texts of pairs were not compared, because their dataset was deleted');
  const tuned = await answersOf(file, text, signal);
  let base: string[] | undefined;
  const visit = async (path: string) => {
    if (source.adapter) base = await answersOf({ path }, text, signal);
  };
  const samples = () =>
    text.samples.map(({ prompt }, n) => Sample.create({ prompt, base: base?.[n], tuned: tuned[n]! }));
  const logps = verified.policyLogps;
  if (!isQuantized(type)) {
    if (type !== 'F32') await verifyUnrounded(comparison, { logps, sequences }, signal);
    await visitBase(comparison, visit, signal);
    return { verification, caveats, samples: samples() };
  }
  const cost = await costOf(deps, comparison, { ...file, type, sequences, logps, visit }, signal);
  const noise = noiseCaveat(type, cost);
  return {
    verification: { ...verification, tolerance: divergenceLimit(cost.base!.klDivergence), quantizationCost: cost },
    caveats: noise === undefined ? caveats : [...caveats, noise],
    samples: samples(),
  };
}

/** Verifies what a 16-bit artifact was before its weights were rounded. */
async function verifyUnrounded(
  { source, files: { file, type }, folder }: Comparison,
  expected: Pick<QuantizedFile, 'sequences'> & { logps: TokenLogps },
  signal: AbortSignal,
): Promise<void> {
  const { adapterPath } = file;
  const adapter = adapterPath === undefined ? source.adapter : undefined;
  const model = await ggufModel({ ...source, adapter }, 'exact', signal);
  await verifyExact(join(folder, 'exact'), { ...expected, type, model, adapterPath }, signal);
}

/** Calls `visit` with a file of the base model that has the artifact's type, if an adapter was trained. */
async function visitBase(
  { source, files: { type, basePath }, folder }: Comparison,
  visit: (path: string) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  if (source.adapter === undefined) return;
  if (basePath !== undefined) return visit(basePath);
  const model = await ggufModel({ ...source, adapter: undefined }, 'base', signal);
  const { files } = await writeGgufArtifact(folder, model, { baseName: 'base', type, signal });
  return visit(join(folder, files[0]!));
}

/** Measures what quantising an artifact costs. */
async function costOf(
  deps: ArtifactDeps,
  { source, files: { basePath }, folder }: Comparison,
  {
    logps,
    visit,
    ...file
  }: Pick<QuantizedFile, 'type' | 'sequences'> & LoadedFile & { logps: TokenLogps; visit: Yardstick['visit'] },
  signal: AbortSignal,
): Promise<QuantizationCost> {
  const { type, sequences } = file;
  const isTrained = source.adapter !== undefined;
  const untrained = { ...source, adapter: undefined };
  const base = {
    model: await ggufModel(untrained, 'base', signal),
    logps: isTrained ? await engineOf(deps, untrained)(sequences, signal) : logps,
    path: basePath,
    importance: usesImportance(type) ? await importanceOf(deps, untrained, signal) : undefined,
    threads: deps.threads,
    visit,
  };
  const policy = { model: await ggufModel(source, 'policy', signal), logps };
  return quantizationCost(join(folder, 'cost'), { ...file, policy, base, isTrained }, signal);
}

function engineOf({ threads }: ArtifactDeps, { baseModel, adapter }: Source): PolicyLogps {
  return enginePolicy({ baseModel, folder: '/', adapter, threads });
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
