export { gradients, rules } from './gradients.ts';
export type { Rule, Step } from './step.ts';
