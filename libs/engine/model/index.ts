export { architectures, parseConfig, type ModelConfig } from './config.ts';
export { readBaseModel, frozenWeights, trainedWeights, type BaseModel } from './baseModel.ts';
export { frozenLinear, tokenLogps, type ModelParameters } from './forward.ts';
export { packedInputs } from './packedInputs.ts';
export {
  initialLora,
  loraLayout,
  loraLinears,
  loraName,
  loraScale,
  mergeLora,
  type LoraLayer,
  type LoraSettings,
} from './lora.ts';
export { type Feed } from './feed.ts';
export { packTrees } from './pack.ts';
export { rowCount, targetCount, type TokenTree } from './tokenTree.ts';
export {
  expectedTensors,
  linearModules,
  linearName,
  parameterCount,
  targetModules,
  type LinearModule,
  type Weight,
} from './tensors.ts';
export { storedBaseModel, storedFolder } from './storedBaseModel.ts';
