import { shown } from '@pairwise/errors';
import { isRecord } from '@pairwise/safetensors';
import { counter, invalidField, real, unsupportedField, type ConfigObject } from './configValues.ts';

/** How Llama 3.1 lowers the low rotary frequencies. */
interface Llama3RopeScaling {
  factor: number;
  lowFreqFactor: number;
  highFreqFactor: number;
  originalMaxPositionEmbeddings: number;
}

/** The settings of rotary position embeddings. */
export interface RopeConfig {
  ropeTheta: number;
  ropeScaling: Llama3RopeScaling | undefined;
}

/** Reads `rope_parameters` of transformers 5, or `rope_theta` and `rope_scaling` of transformers 4. */
export function parseRope(json: ConfigObject): RopeConfig {
  if (json['rope_parameters'] != null && json['rope_scaling'] != null) {
    throw unsupportedField(
      'rope_scaling',
      'and rope_parameters are both given, and readers disagree on which one counts',
    );
  }
  const field = json['rope_parameters'] != null ? 'rope_parameters' : 'rope_scaling';
  const rope = json[field] ?? {};
  if (!isRecord(rope)) throw invalidField(field, 'is not an object');
  const known = ['rope_theta', 'rope_type', 'type', 'partial_rotary_factor', ...Object.values(llama3Fields)];
  const unknown = Object.keys(rope).find((name) => !known.includes(name) && rope[name] !== null);
  if (unknown !== undefined) {
    throw unsupportedField(`${field}.${unknown.slice(0, 100)}`, 'is unknown and may change what the model computes');
  }
  if ((rope['partial_rotary_factor'] ?? 1) !== 1) throw unsupportedField(`${field}.partial_rotary_factor`, 'is not 1');
  const ropeTheta = 'rope_theta' in rope ? real(rope, 'rope_theta') : real(json, 'rope_theta', 10_000);
  const type = rope['rope_type'] ?? rope['type'] ?? 'default';
  if (type === 'default') return { ropeTheta, ropeScaling: undefined };
  if (type !== 'llama3')
    throw unsupportedField(`${field}.rope_type`, `is ${shown(type)}; it must be default or llama3`);
  const ropeScaling = {
    factor: real(rope, llama3Fields.factor),
    lowFreqFactor: real(rope, llama3Fields.lowFreqFactor),
    highFreqFactor: real(rope, llama3Fields.highFreqFactor),
    originalMaxPositionEmbeddings: counter(rope)(llama3Fields.originalMaxPositionEmbeddings),
  };
  if (ropeScaling.highFreqFactor <= ropeScaling.lowFreqFactor) {
    throw invalidField(
      llama3Fields.highFreqFactor,
      `is ${ropeScaling.highFreqFactor}; it must be above low_freq_factor`,
    );
  }
  return { ropeTheta, ropeScaling };
}

const llama3Fields = {
  factor: 'factor',
  lowFreqFactor: 'low_freq_factor',
  highFreqFactor: 'high_freq_factor',
  originalMaxPositionEmbeddings: 'original_max_position_embeddings',
};
