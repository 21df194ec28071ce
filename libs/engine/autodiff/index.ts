export type { ActivationCheckpointing } from './activationCheckpointing.ts';
export { gradients } from './gradients.ts';
export { gradientRules } from './rules.ts';
