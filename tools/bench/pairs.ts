import { createReadStream, existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createGunzip } from 'node:zlib';
import { readRows } from '@pairwise/preference';
import { uniformStream, type TrainingPair } from '@pairwise/training';
import { shapes } from './randomModel.ts';

/** The smallest vocabulary of the models that are measured. */
const vocabularySize = shapes['135m'].vocab_size;

/** Pairs to measure with, and a description of their source. */
export interface BenchPairs {
  pairs: TrainingPair[];
  data: string;
}

/**
 * The first usable pairs of Anthropic's HH-RLHF (harmless-base, test split) if it is stored beside the repository, otherwise
 * random tokens with the same mean lengths. The model's weights are random, so only lengths matter.
 */
export async function benchPairs(count: number): Promise<BenchPairs> {
  const shared = process.env['PAIRWISE_SHARED'] ?? resolve(import.meta.dirname, '../../../shared');
  const file = join(shared, 'data/hh-rlhf/harmless-base.first1500.jsonl.gz');
  if (!existsSync(file)) return { pairs: syntheticPairs(count), data: 'synthetic lengths like those of hh-rlhf' };
  const pairs: TrainingPair[] = [];
  for await (const row of readRows(createReadStream(file).pipe(createGunzip()))) {
    if (pairs.length === count) break;
    if ('error' in row) continue;
    const { prompt, chosen, rejected } = row.pair as Record<'prompt' | 'chosen' | 'rejected', string>;
    pairs.push(pairOf(wordPieces(prompt), wordPieces(chosen), wordPieces(rejected)));
  }
  return { pairs, data: 'hh-rlhf harmless-base, test split, cut into word pieces' };
}

/**
 * Cuts a text as GPT-2's tokenizer does before it merges bytes, and words of ten or more letters into two. On the first 40
 * pairs, the number of pieces is within 3 % of the number of tokens from SmolLM2's tokenizer. Ids are hashes of the pieces.
 */
function wordPieces(text: string): number[] {
  const pieces = text.match(/'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]+|\s+(?!\S)|\s+/g) ?? [];
  return pieces.flatMap((piece) =>
    piece.trim().length < 10 ? [tokenOf(piece)] : [tokenOf(piece), tokenOf(`${piece}+`)],
  );
}

function tokenOf(piece: string): number {
  return Math.floor(uniformStream(0, piece)() * vocabularySize);
}

/** Random pairs with the mean lengths of hh-rlhf's first 40 pairs (90 prompt, 37 and 39 response tokens) and a similar spread. */
function syntheticPairs(count: number): TrainingPair[] {
  const uniform = uniformStream(0, 'lengths');
  const tokens = (mean: number) => {
    const length = Math.max(2, Math.round(-mean * Math.log(1 - uniform() * 0.99)));
    return Array.from({ length }, () => Math.floor(uniform() * vocabularySize));
  };
  return Array.from({ length: count }, () => pairOf(tokens(90), tokens(37), tokens(39)));
}

/** A pair of 8,192 rows: a prompt of 4,096 random tokens and two responses of 2,048 and their end of turn. */
export function longPair(): TrainingPair {
  const uniform = uniformStream(0, 'long');
  const tokens = (length: number) => Array.from({ length }, () => Math.floor(uniform() * vocabularySize));
  return pairOf(tokens(4096), tokens(2048), tokens(2048));
}

function pairOf(prompt: number[], chosen: number[], rejected: number[]): TrainingPair {
  const endOfTurn = 2;
  return {
    prompt: Int32Array.from(prompt),
    chosen: Int32Array.from([...chosen, endOfTurn]),
    rejected: Int32Array.from([...rejected, endOfTurn]),
    referenceChosen: 0,
    referenceRejected: 0,
  };
}
