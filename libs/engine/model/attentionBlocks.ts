import type { ModelConfig } from './config.ts';
import { int32Feed, int64Feed, type Feed } from './feed.ts';
import { groupByLength, groupCount } from './groups.ts';
import { maskName, windowsOf } from './packedInputs.ts';
import { rowCount, type TokenTree } from './tokenTree.ts';

/**
 * The index vectors that move heads from flat rows into padded blocks and back, and the masks of the blocks. `starts` has the
 * first row of each tree. Queries of a block are `[P, G, R, L, D]`, keys and values `[P, G, L, D]` (letters as in forward.ts).
 * Padding reads row 0, but is never gathered back, so neither its values nor its gradients reach anything.
 */
export function attentionFeeds(
  trees: readonly TokenTree[],
  starts: readonly number[],
  config: ModelConfig,
): Record<string, Feed> {
  const { headCount, kvHeadCount, headDim } = config;
  const heads = headCount / kvHeadCount;
  const lengths = trees.map(rowCount);
  const rowTotal = lengths.reduce((a, b) => a + b, 0);
  const groups = groupByLength(lengths);
  const blocks = Array.from({ length: groupCount }, (_, index) => {
    const members = groups[index] ?? [];
    // An unused block has one cell of padding, since no axis may be empty.
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
    for (const window of windowsOf(config)) {
      feeds[maskName(block, window)] = {
        dtype: 'float32',
        dims: [count, 1, 1, length, length],
        data: masks(
          members.map((tree) => trees[tree]!),
          count,
          length,
          window,
        ),
      };
    }
    const shape = (...dims: number[]) => int64Feed(dims);
    feeds[`query_shape_${block}`] = shape(count, kvHeadCount, heads * length, headDim);
    feeds[`key_shape_${block}`] = shape(count, kvHeadCount, length, headDim);
    feeds[`score_shape_${block}`] = shape(count, kvHeadCount, heads, length, length);
    feeds[`weight_shape_${block}`] = shape(count, kvHeadCount, heads * length, length);
  });
  const sizes = (headsOfCell: number) => int64Feed(blocks.map(({ count, length }) => count * length * headsOfCell));
  return {
    ...feeds,
    query_rows: int32Feed(queries.rows),
    query_cells: int32Feed(queries.cells, [rowTotal, headCount]),
    query_back: int32Feed(queries.back),
    key_rows: int32Feed(keys.rows),
    key_cells: int32Feed(keys.cells, [rowTotal, kvHeadCount]),
    query_sizes: sizes(headCount),
    key_sizes: sizes(kvHeadCount),
  };
}

/** Which cell of the padded blocks holds which head of which row. Heads of rows are numbered as `[T, heads]`. */
interface HeadIndex {
  /** The row that each cell reads; 0 for padding. */
  readonly rows: Int32Array;
  /** The cell of each row. */
  readonly cells: Int32Array;
  /** The row of each cell; -1 for padding. */
  readonly back: Int32Array;
  /** Puts one head of a tree with `own` rows, the first of them `start`, into the next `length` cells. */
  place(start: number, head: number, own: number, length: number): void;
}

function headIndex(rowTotal: number, headCount: number, cellTotal: number): HeadIndex {
  const vector = (length: number) => new Int32Array(new SharedArrayBuffer(length * 4));
  const rows = vector(cellTotal * headCount);
  const cells = vector(rowTotal * headCount);
  const back = vector(cellTotal * headCount).fill(-1);
  let cell = 0;
  return {
    rows,
    cells,
    back,
    place(start, head, own, length) {
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

/** Added to the score of a token that must not be seen: finite, but so low that exp gives 0. */
const hidden = -1e30;

/**
 * Masks `[P, L, L]` for a block of `count` trees: the prefix is causal; a branch sees the prefix and, causally, itself. With
 * a window a token sees only so many tokens, by their positions.
 */
function masks(members: readonly TokenTree[], count: number, length: number, window = Infinity): Float32Array {
  const mask = new Float32Array(new SharedArrayBuffer(count * length * length * 4)).fill(hidden);
  members.forEach(({ prefix, branches }, place) => {
    let row = place * length * length;
    const see = (from: number, to: number) => mask.fill(0, row + from, row + to);
    prefix.forEach((_, position) => {
      see(Math.max(0, position + 1 - window), position + 1);
      row += length;
    });
    let begin = prefix.length;
    for (const branch of branches) {
      for (let i = 0; i < branch.length - 1; i++) {
        see(Math.min(Math.max(0, prefix.length + i + 1 - window), prefix.length), prefix.length);
        see(begin + Math.max(0, i + 1 - window), begin + i + 1);
        row += length;
      }
      begin += branch.length - 1;
    }
  });
  return mask;
}
