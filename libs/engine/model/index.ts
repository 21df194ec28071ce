export { architectures, parseConfig, type Architecture, type Llama3RopeScaling, type ModelConfig } from './config.ts';
export { readBaseModel, frozenWeights, trainedWeights, type BaseModel } from './baseModel.ts';
export { frozenLinear, tokenLogps, type Parameters } from './forward.ts';
export { packedInputs, type PackedInputs } from './packedInputs.ts';
export {
  initialLora,
  loraLayout,
  loraLinears,
  loraName,
  loraScale,
  mergeLora,
  type FlatEntry,
  type LoraLayer,
  type LoraSettings,
} from './lora.ts';
export { type Feed } from './feed.ts';
export { packTrees } from './pack.ts';
export { rowCount, targetCount, type TokenTree } from './tokenTree.ts';
export { rotaryFrequencies } from './rope.ts';
export {
  checkTensors,
  expectedTensors,
  linearModules,
  linearName,
  linearShape,
  parameterCount,
  targetModules,
  type LinearModule,
  type Weight,
} from './tensors.ts';
export { storedBaseModel, storedFolder, type Blobs, type StoredBaseModel, type StoredFile } from './storedBaseModel.ts';
