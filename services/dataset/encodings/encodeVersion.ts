import { DatasetReport, Encoding, TruncationMode, type DatasetVersion, type Model } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import {
  emptyReport,
  packPairs,
  refusalsText,
  shardPairs,
  type EncodeOptions,
  type Report,
} from '@pairwise/preference';
import { encodeModeOf } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { openTokenizer, readTokenizerFiles } from '@pairwise/tokenizer';
import { folderOf } from '../models/models.ts';
import { countsByReason } from '../pairs/accept.ts';
import { versionPairs } from '../pairs/versions.ts';
import { encodePairs } from './encodePairs.ts';
import { encodingFingerprint, type EncodingSettings } from './fingerprint.ts';
import { remedyFor } from './remedy.ts';

/**
 * Encodes the pairs of a version and stores them in shards. Pairs that cannot be kept are left out and counted. Throws
 * EMPTY_DATASET if none can be kept, and everything that the model's tokenizer throws.
 */
export async function encodeVersion(
  blobs: BlobStore,
  version: DatasetVersion,
  model: Model,
  settings: EncodingSettings,
  signal: AbortSignal,
): Promise<Omit<Encoding, 'name'>> {
  await using tokenizer = await openTokenizer(await readTokenizerFiles(folderOf(model, blobs)), {
    date: settings.chatTemplateDate,
    signal,
  });
  const report = emptyReport();
  const shardDigests: Digest[] = [];
  let tokenCount = 0;
  let longestLength = 0;
  let longestPairLength = 0;
  let conversationCount = 0;
  const pairs = encodePairs(versionPairs(blobs, version), tokenizer, optionsOf(settings), report);
  for await (const shard of inGroups(pairs, shardPairs)) {
    shardDigests.push((await blobs.put(packPairs(shard))).digest);
    for (const { prompt, chosen, rejected, isConversation } of shard) {
      if (isConversation) conversationCount += 1;
      const length = prompt.length + chosen.length + rejected.length;
      tokenCount += length;
      longestPairLength = Math.max(longestPairLength, length);
      longestLength = Math.max(longestLength, prompt.length + Math.max(chosen.length, rejected.length));
    }
  }
  const remedy = remedyFor(report, settings, model);
  if (report.acceptedCount === 0) throw noPairs(report, remedy);
  return Encoding.create({
    fingerprint: encodingFingerprint(version, model, settings),
    pairCount: report.acceptedCount,
    report: DatasetReport.create(report),
    tokenCount: BigInt(tokenCount),
    longestLength,
    longestPairLength,
    conversationCount,
    hasChatTemplate: tokenizer.chatTemplate !== undefined,
    remedy,
    shardDigests,
    model: model.name,
    ...settings,
  });
}

const truncationModes = new Map<TruncationMode, EncodeOptions['truncationMode']>([
  [TruncationMode.REFUSE, 'REFUSE'],
  [TruncationMode.KEEP_START, 'KEEP_START'],
  [TruncationMode.KEEP_END, 'KEEP_END'],
]);

function optionsOf({ maxLength, truncationMode, chatTemplate }: EncodingSettings): EncodeOptions {
  return {
    maxLength,
    truncationMode: truncationModes.get(truncationMode)!,
    chatTemplate: encodeModeOf(chatTemplate),
  };
}

function noPairs(report: Report, remedy: string): PairwiseError {
  const text = `none of the version's pairs can be encoded for this model: ${refusalsText(report.refused)}`;
  const message = remedy === '' ? text : `${text}. ${remedy}`;
  return new PairwiseError('EMPTY_DATASET', message, { field: 'name', metadata: countsByReason(report) });
}

/** Groups items; the last group holds what is left. */
async function* inGroups<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let group: T[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}
