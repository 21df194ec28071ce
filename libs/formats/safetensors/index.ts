export { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './floats.ts';
export { decodeJson, maxTextBytes, readJson, readText, type ModelFolder } from './folder.ts';
export {
  dtypeBytes,
  headerLength,
  isRecord,
  maxHeaderBytes,
  parseHeader,
  type SafetensorsDtype,
  type TensorPlace,
} from './header.ts';
export { readMetadata, readSafetensors } from './read.ts';
export { indexName, weightFiles } from './weightFiles.ts';
export { streamedSize, streamSafetensors, writeSafetensors, type StreamedTensor, type TensorData } from './write.ts';
