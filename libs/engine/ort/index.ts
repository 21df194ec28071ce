export { openSession } from './session.ts';
export type { RunOptions, Session, SessionSpec } from './session.ts';
export { sharedTensor } from './tensors.ts';
export type { Tensor, TensorData, TensorDtype } from './tensors.ts';
export { numericsProfile, parseDevice } from './devices.ts';
export type { Device } from './devices.ts';
