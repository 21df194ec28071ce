export { architectureNames, architectures, type ArchitectureName } from './architectures.ts';
export { isMultimodal, parseConfig, textConfig, type ModelConfig } from './config.ts';
export { type RotaryConfig } from './configRope.ts';
export { readBaseModel, frozenWeights, trainedWeights, type BaseModel } from './baseModel.ts';
export { declaredBaseModel } from './declaredBaseModel.ts';
export { partialModel } from './partialModel.ts';
export { plainLinears, tokenLogps, type ModelParameters } from './forward.ts';
export { packedInputs } from './packedInputs.ts';
export {
  adaptedModules,
  initialLora,
  loraLayout,
  loraLinears,
  loraName,
  loraScale,
  mergeLora,
  type LoraLayer,
  type LoraSettings,
} from './lora.ts';
export { expertRows } from './experts.ts';
export { type Feed } from './feed.ts';
export { queryChunkRows } from './queryChunks.ts';
export { packTrees } from './pack.ts';
export { rowCount, targetCount, type TokenTree } from './tokenTree.ts';
export {
  expertName,
  linearModules,
  linearName,
  routerName,
  targetModules,
  type LinearModule,
} from './linearModules.ts';
export { dequantizeInt8, dequantizeNf4, quantizeInt8, quantizeNf4, type Quantized } from './quantization.ts';
export { quantizedLinears, readQuantizedLinears, type BaseQuantization } from './quantizedLinears.ts';
export { expectedTensors, linearShape, parameterCount, type Weight } from './tensors.ts';
export { readStoredModel, storedBaseModel, storedFolder } from './storedBaseModel.ts';
