export * from './read.ts';
export * from './tensor-types.ts';
export * from './values.ts';
export * from './write.ts';
export { ggufTokenizer } from './tokenizer.ts';
export type { TokenizerFiles } from './tokenizer.ts';
export * from './vocabulary.ts';
export * from './llama.ts';
