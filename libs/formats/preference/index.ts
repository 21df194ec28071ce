export * from './encode.ts';
export * from './pair.ts';
export { maxRowBytes, readRows, type ReadRow } from './reader.ts';
export * from './report.ts';
export * from './rows.ts';
export { packPairs, shardPairs, unpackPairs } from './shard.ts';
