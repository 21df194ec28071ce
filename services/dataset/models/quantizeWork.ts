import { work } from '@pairwise/durable';

/** One attempt to quantise a model. */
export interface QuantizeInput {
  /** Resource name of the model. */
  name: string;
  /** The `BaseQuantization` in proto JSON. */
  type: string | number;
  /** `ModelRecord.quantizationAttempts`. */
  attempt: number;
}

/** The queued quantising of a model. */
export const quantizeModelWork = work<QuantizeInput>('quantize', 'models');

/** The id of an attempt's work. */
export function quantizeWorkId({ name, type, attempt }: QuantizeInput): string {
  return `${name}/${type}/${attempt}`;
}
