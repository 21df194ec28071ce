/*
 * The packed layout of two pairs, one with 5 + 3 rows and one with 3 + 2 (p prompt, c chosen, r rejected):
 *
 *   rows    p p p c c | r r r | p p c | r r        flat, no padding: everything linear runs here       [T, ...]
 *   chunks  q q q q q . . .                       attention: some queries and the keys up to the last of them    [H, C, K]
 *           k k k k k . . .                       a mask by position and branch hides p and c of others
 *
 * This file lays out the rows, queryChunks.ts the chunks.
 */
import { PairwiseError } from '@pairwise/errors';
import type { ModelConfig } from './config.ts';
import { int32Feed, int64Feed, type Feed } from './feed.ts';
import { queryChunks } from './queryChunks.ts';
import { rotaryTables } from './rope.ts';
import { rowCount, targetCount, type TokenTree } from './tokenTree.ts';

/** The targets of one branch: those from `start` (inclusive) to `end` (exclusive). */
export interface BranchTargets {
  tree: number;
  branch: number;
  start: number;
  end: number;
}

/** Token trees as feeds for `packedInputs`. */
export interface PackedBatch {
  feeds: Record<string, Feed>;
  /** The number of rows that go through the linear layers. */
  tokenCount: number;
  /** The number of tokens whose logps are computed: all tokens of all branches. */
  targetCount: number;
  branches: BranchTargets[];
}

/**
 * Lays out token trees. Throws INVALID_ARGUMENT if there is none, and for a tree with an empty prefix or branch or with more
 * than two branches: the graph has room for two targets that a prefix's last row predicts.
 */
export function packTrees(trees: readonly TokenTree[], config: ModelConfig): PackedBatch {
  if (trees.length === 0) throw new PairwiseError('INVALID_ARGUMENT', 'there are no token trees to pack');
  for (const { prefix, branches } of trees) {
    if (prefix.length === 0 || branches.some((branch) => branch.length === 0)) {
      throw new PairwiseError('INVALID_ARGUMENT', 'a token tree has an empty prefix or branch');
    }
    if (branches.length < 1 || branches.length > 2) {
      const message = `a token tree has ${branches.length} branches; it must have one or two`;
      throw new PairwiseError('INVALID_ARGUMENT', message);
    }
  }
  const { rows, branches } = layRows(trees);
  const chunks = queryChunks(trees);
  return {
    feeds: { ...rowFeeds(rows, config), chunks: int64Feed(chunks.flat(), [chunks.length, 4]) },
    tokenCount: rows.tokens.length,
    targetCount: rows.targets.length,
    branches,
  };
}

interface Rows {
  tokens: Int32Array;
  positions: Int32Array;
  /** The prefix or branch of each row; all prefixes and branches of the batch are numbered together. */
  branches: Int32Array;
  /** The prefix of each row's tree. */
  prefixes: Int32Array;
  /** The row that predicts each target. */
  logitRows: Int32Array;
  targets: Int32Array;
  /** The targets that each row predicts: none, one, or two where two branches begin. -1 means none. */
  predicted: [Int32Array, Int32Array];
}

function layRows(trees: readonly TokenTree[]): { rows: Rows; branches: BranchTargets[] } {
  const tokenTotal = trees.reduce((sum, tree) => sum + rowCount(tree), 0);
  const targetTotal = trees.reduce((sum, tree) => sum + targetCount(tree), 0);
  const vector = (length: number) => new Int32Array(new SharedArrayBuffer(length * 4));
  const rows: Rows = {
    tokens: vector(tokenTotal),
    positions: vector(tokenTotal),
    branches: vector(tokenTotal),
    prefixes: vector(tokenTotal),
    logitRows: vector(targetTotal),
    targets: vector(targetTotal),
    predicted: [vector(tokenTotal).fill(-1), vector(tokenTotal).fill(-1)],
  };
  const places: BranchTargets[] = [];
  let row = 0;
  let target = 0;
  let prefixNumber = 0;
  let branchNumber = 0;
  const token = (id: number, position: number) => {
    rows.tokens[row] = id;
    rows.positions[row] = position;
    rows.branches[row] = branchNumber;
    rows.prefixes[row] = prefixNumber;
    return row++;
  };
  const predict = (id: number, from: number) => {
    rows.logitRows[target] = from;
    rows.targets[target] = id;
    const [first, second] = rows.predicted;
    (first[from] === -1 ? first : second)[from] = target++;
  };
  trees.forEach(({ prefix, branches }, tree) => {
    prefixNumber = branchNumber;
    prefix.forEach(token);
    const last = row - 1;
    branches.forEach((branch, index) => {
      places.push({ tree, branch: index, start: target, end: target + branch.length });
      let from = last;
      branchNumber++;
      branch.forEach((id, at) => {
        predict(id, from);
        if (at < branch.length - 1) from = token(id, prefix.length + at);
      });
    });
    branchNumber++;
  });
  return { rows, branches: places };
}

function rowFeeds({ tokens, positions, branches, prefixes, logitRows, targets, predicted }: Rows, config: ModelConfig) {
  const tables = config.rotaries.flatMap((rotary, index) => {
    const { cos, sin } = rotaryTables(rotary, positions);
    const table = (data: Float32Array): Feed => ({ dtype: 'float32', dims: [tokens.length, 1, rotary.dim / 2], data });
    return [
      [`cos_${index}`, table(cos)],
      [`sin_${index}`, table(sin)],
    ] as const;
  });
  return {
    tokens: int32Feed(tokens),
    ...Object.fromEntries(tables),
    positions: int32Feed(positions),
    branches: int32Feed(branches),
    prefixes: int32Feed(prefixes),
    logit_rows: int32Feed(logitRows),
    targets: int32Feed(targets),
    predicted_0: int32Feed(predicted[0]),
    predicted_1: int32Feed(predicted[1]),
  };
}
