export { byteLevelTokenizer } from './byteLevelTokenizer.ts';
export { sharedFolder } from './referenceMaterial.ts';
export { tinyPairs, writeTinyModel } from './tinyModel.ts';
