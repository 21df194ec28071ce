export { openJudge } from './judge.ts';
export type { Judge } from './judge.ts';
export { headerOf } from './header.ts';
export { quantizeGguf } from './quantize.ts';
export type { Quantization } from './quantize.ts';
export type {
  Divergence,
  GenerateOptions,
  Generation,
  Importance,
  JudgedSequence,
  JudgeInfo,
  TokenizeOptions,
} from './requests.ts';
