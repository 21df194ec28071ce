export { asDiskFull } from './diskFull.ts';
export { PairwiseError, reasons } from './error.ts';
export type { PairwiseErrorDetails, Reason } from './error.ts';
export { shown } from './shown.ts';
