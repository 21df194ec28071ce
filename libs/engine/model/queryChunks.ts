import { rowCount, type TokenTree } from './tokenTree.ts';

/** The most query rows of a chunk: enough for efficient products, and few enough for scores that stay in the cache. */
export const queryChunkRows = 128;

/**
 * The chunks of queries in which attention runs over packed trees, as numbers of rows: first query, end of the queries, first
 * key, end of the keys. Small trees share a chunk; a large one has several of about the same size, each with the keys from the
 * tree's first row to its own last, since no row sees a later one.
 */
export function queryChunks(trees: readonly TokenTree[], chunkRows = queryChunkRows): number[][] {
  const chunks: number[][] = [];
  let start = 0;
  for (const tree of trees) {
    const rows = rowCount(tree);
    const last = chunks.at(-1);
    if (last && start + rows - last[2]! <= chunkRows) {
      last[1] = last[3] = start + rows;
    } else {
      const parts = Math.ceil(rows / chunkRows);
      for (let part = 0; part < parts; part++) {
        const at = (index: number) => start + Math.floor((index * rows) / parts);
        chunks.push([at(part), at(part + 1), start, at(part + 1)]);
      }
    }
    start += rows;
  }
  return chunks;
}
