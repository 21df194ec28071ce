export { readTokenizerFiles } from './files.ts';
export type { Limitations } from './requests.ts';
export type { TokenizerFiles } from './settings.ts';
export type { SpecialTokens } from './specialTokens.ts';
export { openTokenizer, type Tokenizer } from './tokenizer.ts';
