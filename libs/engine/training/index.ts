export { defaultRowLimit, planMicroBatches } from './batches.ts';
export {
  adapterFeeds,
  dpoBatches,
  dpoStep,
  dpoStepOn,
  evaluateDpo,
  treeOf,
  sum,
  tokenCount,
  type DpoTask,
  type TrainingPair,
} from './dpo.ts';
export { crossEntropyGraph, dpoGraph, engineVersion, policyGraph, referenceGraph } from './graphs.ts';
export { checkHeldOutFraction } from './heldOut.ts';
export * from './hyperparameters.ts';
export { importanceGraph, linearImportance } from './importance.ts';
export { lossTypes, startLoss, type Objective } from './losses.ts';
export {
  fits,
  microBatchShape,
  outOfMemory,
  referenceMemory,
  totalBytes,
  trainingMemory,
  type Memory,
  type MicroBatchShape,
} from './memoryPlan.ts';
export { type Metrics } from './metrics.ts';
export { treeLogps } from './logps.ts';
export { type RunGraph } from './microBatches.ts';
export { forwardOperations, trainingOperations, workSize, type WorkSize } from './operations.ts';
export { adamwStep, clipFactor, globalNorm, initialState, type AdamW, type OptimizerState } from './optimizer.ts';
export { shuffled, uniformStream } from './random.ts';
export { rateMeter, type RateMeter } from './rateMeter.ts';
export { learningRateAt } from './schedule.ts';
export { adapterParameters, adapterTensors, packState, unpackState } from './state.ts';
export { planTraining, type TrainingPlan } from './trainingPlan.ts';
export { type ActivationCheckpointing } from '@pairwise/autodiff';
