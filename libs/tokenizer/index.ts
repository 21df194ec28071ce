export type { TokenizerFiles } from './settings.ts';
export { openTokenizer, type Tokenizer } from './tokenizer.ts';
