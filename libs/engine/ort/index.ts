export { sessionHolder } from './sessionHolder.ts';
export type { Opening, SessionHolder } from './sessionHolder.ts';
export { openSession } from './session.ts';
export type { Session, SessionSpec } from './session.ts';
export { sharedTensor } from './tensors.ts';
export type { Tensor } from './tensors.ts';
export { computeDtype, deviceMemoryBytes, numericsProfile, parseDevice } from './devices.ts';
export type { Device } from './devices.ts';
