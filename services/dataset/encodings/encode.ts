import { DatasetReport, Encoding, TruncationMode, type DatasetVersion, type Model } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { digestOfFiles, fingerprintOf, type Digest } from '@pairwise/fingerprint';
import { storedFolder } from '@pairwise/model';
import {
  emptyReport,
  encodingVersion,
  noteRefusal,
  packPairs,
  RowError,
  shardPairs,
  type EncodedPair,
  type EncodingLimits,
  type PreferencePair,
} from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import { openTokenizer, readTokenizerFiles, type Tokenizer } from '@pairwise/tokenizer';
import { countsByReason } from '../pairs/accept.ts';
import { versionPairs } from '../pairs/versions.ts';

/** Pairs that are with the tokenizer at the same time, at most: as many as keep its threads busy. */
const atOnce = 64;
/** Their characters: a million takes 0.4 GiB of its memory. A larger pair is alone with it. */
const charactersAtOnce = 1_000_000;

/** The files of a model that decide on the ids of a text. */
const tokenizerFiles = new Set([
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'generation_config.json',
  'config.json',
]);

const modes = { [TruncationMode.KEEP_START]: 'KEEP_START', [TruncationMode.KEEP_END]: 'KEEP_END' } as const;

/** How the pairs are cut, in words of the proto. */
export interface Cutting {
  maxLength: number;
  truncationMode: TruncationMode;
}

/** sha256 of everything that determines the ids of a version's pairs. */
export function encodingFingerprint({ digest }: DatasetVersion, model: Model, { maxLength, truncationMode }: Cutting) {
  const files = model.files.filter(({ path }) => tokenizerFiles.has(path));
  const tokenizer = digestOfFiles(files);
  const recipe = { kind: 'encoding', pairs: digest, tokenizer, maxLength, truncationMode, encodingVersion, shardPairs };
  return fingerprintOf(recipe);
}

/**
 * Encodes the pairs of a version and stores them in shards. A pair that cannot be kept is left out and counted under its
 * position, from 1. Throws EMPTY_DATASET where none is left, and what a model's tokenizer throws.
 */
export async function encodeVersion(
  blobs: BlobStore,
  version: DatasetVersion,
  model: Model,
  cutting: Cutting,
  signal: AbortSignal,
): Promise<Omit<Encoding, 'name'>> {
  const files = model.files.map((file) => ({ ...file, digest: file.digest as Digest }));
  await using tokenizer = await openTokenizer(await readTokenizerFiles(storedFolder(files, blobs)), signal);
  const limits: EncodingLimits = {
    maxLength: cutting.maxLength,
    truncationMode: (modes as Record<string, 'KEEP_START' | 'KEEP_END'>)[cutting.truncationMode] ?? 'REFUSE',
  };
  const report = emptyReport();
  const shardDigests: Digest[] = [];
  let tokenCount = 0;
  let longestLength = 0;
  for await (const shard of grouped(encodedPairs(blobs, version, tokenizer, limits, report), shardPairs)) {
    shardDigests.push((await blobs.put(packPairs(shard))).digest);
    for (const { prompt, chosen, rejected } of shard) {
      tokenCount += prompt.length + chosen.length + rejected.length;
      longestLength = Math.max(longestLength, prompt.length + Math.max(chosen.length, rejected.length));
    }
  }
  if (report.acceptedCount === 0) {
    const counts = report.refused.map(({ reason, count }) => `${count} ${reason}`).join(', ');
    const message = `name: none of the version's pairs can be encoded for this model: ${counts}`;
    throw new PairwiseError('EMPTY_DATASET', message, { field: 'name', metadata: countsByReason(report) });
  }
  return Encoding.create({
    fingerprint: encodingFingerprint(version, model, cutting),
    pairCount: report.acceptedCount,
    report: DatasetReport.create(report),
    tokenCount: BigInt(tokenCount),
    longestLength,
    shardDigests,
    model: model.name,
    ...cutting,
  });
}

/** The pairs that can be kept, in canonical order; the others are noted in `report`. */
async function* encodedPairs(
  blobs: BlobStore,
  version: DatasetVersion,
  tokenizer: Tokenizer,
  limits: EncodingLimits,
  report: ReturnType<typeof emptyReport>,
): AsyncGenerator<EncodedPair> {
  let position = 0;
  for await (const encoded of inOrder(versionPairs(blobs, version), (pair) => encodeOne(pair, tokenizer, limits))) {
    position += 1;
    if (encoded instanceof RowError) {
      noteRefusal(report, encoded.refusal, position);
      continue;
    }
    report.acceptedCount += 1;
    yield encoded;
  }
}

async function encodeOne(pair: PreferencePair, tokenizer: Tokenizer, limits: EncodingLimits) {
  try {
    return await tokenizer.encodePair(pair, limits);
  } catch (error) {
    if (error instanceof RowError) return error;
    throw error;
  }
}

/** Results in the order of the pairs, with as many pairs begun as may be with the tokenizer at the same time. */
async function* inOrder<T>(
  pairs: AsyncIterable<PreferencePair>,
  begin: (pair: PreferencePair) => Promise<T>,
): AsyncGenerator<T> {
  const begun: { result: Promise<T>; characters: number }[] = [];
  let characters = 0;
  const take = () => {
    const first = begun.shift()!;
    characters -= first.characters;
    return first.result;
  };
  for await (const pair of pairs) {
    const more = charactersOf(pair);
    while (begun.length >= atOnce || (begun.length > 0 && characters + more > charactersAtOnce)) yield await take();
    const result = begin(pair);
    // Those behind one that fails are not waited for.
    result.catch(() => undefined);
    begun.push({ result, characters: more });
    characters += more;
  }
  while (begun.length > 0) yield await take();
}

function charactersOf({ prompt, chosen, rejected }: PreferencePair): number {
  const texts = [prompt, chosen, rejected].flatMap((turn) =>
    typeof turn === 'string' ? [turn] : turn.map(({ content }) => content),
  );
  return texts.reduce((sum, { length }) => sum + length, 0);
}

/** Groups of so many items, the last one of what is left. */
async function* grouped<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let group: T[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}
