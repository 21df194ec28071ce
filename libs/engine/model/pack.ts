import { PairwiseError } from '@pairwise/errors';
import type { ModelConfig } from './config.ts';
import { groupByLength, groupCount } from './groups.ts';
import { rotaryFrequencies, rotaryTables } from './rope.ts';

/**
 * Tokens that go through the model together: branches follow the prefix, see it and themselves, and restart their
 * positions behind it. A pair is its prompt with two branches, a single sequence has one.
 */
export interface TokenTree {
  prefix: Int32Array;
  branches: readonly Int32Array[];
}

/** A dense tensor to feed. */
export interface Feed {
  dtype: 'float32' | 'int32' | 'int64';
  dims: number[];
  data: Float32Array | Int32Array | BigInt64Array;
}

/** Where the tokens of a branch are among the targets. */
export interface BranchTargets {
  tree: number;
  branch: number;
  start: number;
  end: number;
}

/** Token trees laid out as the feeds of `packedInputs`. */
export interface PackedBatch {
  feeds: Record<string, Feed>;
  /** Rows that go through the linear layers. */
  tokenCount: number;
  /** Tokens whose logps are computed: all of all branches. */
  targetCount: number;
  branches: BranchTargets[];
}

/** Rows of a tree: its tokens, save the last of each branch, which predicts nothing. */
export function rowCount({ prefix, branches }: TokenTree): number {
  return branches.reduce((sum, branch) => sum + branch.length - 1, prefix.length);
}

/** Tokens of a tree whose logps are computed. */
export function targetCount({ branches }: TokenTree): number {
  return branches.reduce((sum, branch) => sum + branch.length, 0);
}

/**
 * Lays out trees. Throws INVALID_ARGUMENT for none, and for a tree without a prefix, with an empty branch, or with
 * other than one or two branches: the graph has two places for the targets that a prefix's last row predicts.
 */
export function packTrees(trees: readonly TokenTree[], config: ModelConfig): PackedBatch {
  if (trees.length === 0) throw new PairwiseError('INVALID_ARGUMENT', 'there are no trees to lay out');
  for (const { prefix, branches } of trees) {
    if (prefix.length === 0 || branches.some((branch) => branch.length === 0)) {
      throw new PairwiseError('INVALID_ARGUMENT', 'a tree needs a prefix and branches that are not empty');
    }
    if (branches.length < 1 || branches.length > 2) {
      throw new PairwiseError('INVALID_ARGUMENT', `a tree has ${branches.length} branches; it must have one or two`);
    }
  }
  const { rows, branches } = layRows(trees);
  return {
    feeds: { ...rowFeeds(rows, config), ...attentionFeeds(trees, rows.starts, config) },
    tokenCount: rows.tokens.length,
    targetCount: rows.targets.length,
    branches,
  };
}

interface Rows {
  tokens: Int32Array;
  positions: Int32Array;
  /** First row of each tree. */
  starts: number[];
  /** Row that predicts each target, and the target itself. */
  logitRows: Int32Array;
  targets: Int32Array;
  /** For each row the targets that it predicts: none, one, or, where two branches begin, two. */
  predicted: [Int32Array, Int32Array];
}

function layRows(trees: readonly TokenTree[]): { rows: Rows; branches: BranchTargets[] } {
  const tokenTotal = trees.reduce((sum, tree) => sum + rowCount(tree), 0);
  const targetTotal = trees.reduce((sum, tree) => sum + targetCount(tree), 0);
  const vector = (length: number) => new Int32Array(new SharedArrayBuffer(length * 4));
  const rows: Rows = {
    tokens: vector(tokenTotal),
    positions: vector(tokenTotal),
    starts: [],
    logitRows: vector(targetTotal),
    targets: vector(targetTotal),
    predicted: [vector(tokenTotal).fill(-1), vector(tokenTotal).fill(-1)],
  };
  const places: BranchTargets[] = [];
  let row = 0;
  let target = 0;
  const token = (id: number, position: number) => {
    rows.tokens[row] = id;
    rows.positions[row] = position;
    return row++;
  };
  const predict = (id: number, from: number) => {
    rows.logitRows[target] = from;
    rows.targets[target] = id;
    const [first, second] = rows.predicted;
    (first[from] === -1 ? first : second)[from] = target++;
  };
  trees.forEach(({ prefix, branches }, tree) => {
    rows.starts.push(row);
    prefix.forEach(token);
    const last = row - 1;
    branches.forEach((branch, index) => {
      places.push({ tree, branch: index, start: target, end: target + branch.length });
      let from = last;
      branch.forEach((id, at) => {
        predict(id, from);
        if (at < branch.length - 1) from = token(id, prefix.length + at);
      });
    });
  });
  return { rows, branches: places };
}

function rowFeeds({ tokens, positions, logitRows, targets, predicted }: Rows, config: ModelConfig) {
  const { cos, sin } = rotaryTables(rotaryFrequencies(config), positions);
  const table = (data: Float32Array): Feed => ({
    dtype: 'float32',
    dims: [tokens.length, 1, config.headDim / 2],
    data,
  });
  return {
    tokens: integers(tokens),
    cos: table(cos),
    sin: table(sin),
    logit_rows: integers(logitRows),
    targets: integers(targets),
    predicted_0: integers(predicted[0]),
    predicted_1: integers(predicted[1]),
  };
}

/**
 * The index vectors by which heads go from flat rows to padded blocks and back, and the blocks' masks. Queries of a block
 * are `[count, kvHeads, heads per kvHead, length, headDim]`, keys and values `[count, kvHeads, length, headDim]`. Padding
 * reads row 0 and is read by nothing: nobody gathers it back, so neither values nor gradients of it go anywhere.
 */
function attentionFeeds(trees: readonly TokenTree[], starts: readonly number[], config: ModelConfig) {
  const { headCount, kvHeadCount, headDim } = config;
  const heads = headCount / kvHeadCount;
  const lengths = trees.map(rowCount);
  const rowTotal = lengths.reduce((a, b) => a + b, 0);
  const groups = groupByLength(lengths);
  const blocks = Array.from({ length: groupCount }, (_, index) => {
    const members = groups[index] ?? [];
    // A block that is not needed holds one cell of padding, since no axis may be empty.
    return { members, count: Math.max(1, members.length), length: members.length === 0 ? 1 : lengths[members[0]!]! };
  });
  const cells = blocks.reduce((sum, { count, length }) => sum + count * length, 0);
  const queries = headIndex(rowTotal, headCount, cells);
  const keys = headIndex(rowTotal, kvHeadCount, cells);
  const feeds: Record<string, Feed> = {};
  blocks.forEach(({ members, count, length }, block) => {
    for (let place = 0; place < count; place++) {
      const tree = members[place];
      const own = tree === undefined ? 0 : lengths[tree]!;
      const start = tree === undefined ? 0 : starts[tree]!;
      for (let head = 0; head < kvHeadCount; head++) {
        keys.place(start, head, own, length);
        for (let i = 0; i < heads; i++) queries.place(start, head * heads + i, own, length);
      }
    }
    feeds[`mask_${block}`] = {
      dtype: 'float32',
      dims: [count, 1, 1, length, length],
      data: masks(
        members.map((tree) => trees[tree]!),
        count,
        length,
      ),
    };
    const shape = (...dims: number[]): Feed => ({ dtype: 'int64', dims: [dims.length], data: longs(dims) });
    feeds[`query_shape_${block}`] = shape(count, kvHeadCount, heads * length, headDim);
    feeds[`key_shape_${block}`] = shape(count, kvHeadCount, length, headDim);
    feeds[`score_shape_${block}`] = shape(count, kvHeadCount, heads, length, length);
    feeds[`weight_shape_${block}`] = shape(count, kvHeadCount, heads * length, length);
  });
  const sizes = (headsOfCell: number) => longs(blocks.map(({ count, length }) => count * length * headsOfCell));
  return {
    ...feeds,
    query_rows: integers(queries.rows),
    query_cells: integers(queries.cells, [rowTotal, headCount]),
    query_back: integers(queries.back),
    key_rows: integers(keys.rows),
    key_cells: integers(keys.cells, [rowTotal, kvHeadCount]),
    query_sizes: { dtype: 'int64', dims: [groupCount], data: sizes(headCount) } satisfies Feed,
    key_sizes: { dtype: 'int64', dims: [groupCount], data: sizes(kvHeadCount) } satisfies Feed,
  };
}

/** For heads of flat rows `[rows, heads]` and cells of padded blocks: which cell reads which, and the other way round. */
function headIndex(rowTotal: number, headCount: number, cellTotal: number) {
  const vector = (length: number) => new Int32Array(new SharedArrayBuffer(length * 4));
  const rows = vector(cellTotal * headCount);
  const cells = vector(rowTotal * headCount);
  const back = vector(cellTotal * headCount).fill(-1);
  let cell = 0;
  return {
    /** For each cell the row that it reads; 0 for padding. */
    rows,
    /** For each row its cell. */
    cells,
    /** For each cell its row; -1 for padding. */
    back,
    /** Places one head of a tree of `own` rows from `start` on into the next `length` cells. */
    place(start: number, head: number, own: number, length: number): void {
      for (let i = 0; i < own; i++) {
        const row = (start + i) * headCount + head;
        rows[cell + i] = row;
        cells[row] = cell + i;
        back[cell + i] = row;
      }
      cell += length;
    },
  };
}

/** Added to the scores: 0 where a token may look, else so little that exp gives 0, but finite. */
const hidden = -1e30;

/** Masks `[count, length, length]`: the prefix is causal, a branch sees the prefix and itself. */
function masks(members: readonly TokenTree[], count: number, length: number): Float32Array {
  const mask = new Float32Array(new SharedArrayBuffer(count * length * length * 4)).fill(hidden);
  members.forEach(({ prefix, branches }, place) => {
    let row = place * length * length;
    const see = (from: number, to: number) => mask.fill(0, row + from, row + to);
    prefix.forEach((_, position) => {
      see(0, position + 1);
      row += length;
    });
    let begin = prefix.length;
    for (const branch of branches) {
      for (let i = 0; i < branch.length - 1; i++) {
        see(0, prefix.length);
        see(begin, begin + i + 1);
        row += length;
      }
      begin += branch.length - 1;
    }
  });
  return mask;
}

function integers(data: Int32Array, dims = [data.length]): Feed {
  return { dtype: 'int32', dims, data };
}

function longs(numbers: readonly number[]): BigInt64Array {
  return BigInt64Array.from(numbers, BigInt);
}
