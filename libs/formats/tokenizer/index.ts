export { readTokenizerFiles } from './files.ts';
export type { TokenizerFiles } from './settings.ts';
export { openTokenizer, type Tokenizer } from './tokenizer.ts';
