export * from './read.ts';
export * from './tensor-types.ts';
export * from './values.ts';
export * from './write.ts';
