import { shown } from '@pairwise/errors';
import { isRecord } from '@pairwise/safetensors';
import { counter, flag, invalidField, real, unsupportedField, type ConfigObject } from './configValues.ts';

/** Divides all frequencies by `factor`. */
interface LinearScaling {
  type: 'linear';
  factor: number;
}

/** How Llama 3.1 lowers the low rotary frequencies. */
interface Llama3Scaling {
  type: 'llama3';
  factor: number;
  lowFreqFactor: number;
  highFreqFactor: number;
  originalMaxPositionEmbeddings: number;
}

/** YaRN, arXiv 2309.00071: low frequencies are divided by `factor`, high ones kept, and cos and sin are multiplied. */
interface YarnScaling {
  type: 'yarn';
  factor: number;
  betaFast: number;
  betaSlow: number;
  /** Whether the ends of the ramp between low and high frequencies are rounded to whole dimensions. */
  truncate: boolean;
  originalMaxPositionEmbeddings: number;
  attentionFactor: number;
}

/** LongRoPE, arXiv 2402.13753: each frequency has its own divisor, and cos and sin are multiplied. */
interface LongRopeScaling {
  type: 'longrope';
  /** Divisors for sequences up to `originalMaxPositionEmbeddings`, `[dim / 2]`. */
  shortFactor: number[];
  /** Divisors for longer sequences, `[dim / 2]`: only written to GGUF files. */
  longFactor: number[];
  originalMaxPositionEmbeddings: number;
  attentionFactor: number;
}

type RopeScaling = LinearScaling | Llama3Scaling | YarnScaling | LongRopeScaling;

/** A rotary position embedding. */
export interface RotaryConfig {
  theta: number;
  /** How many dimensions of a head are rotated: the first ones. */
  dim: number;
  scaling: RopeScaling | undefined;
}

interface Sizes {
  headDim: number;
  maxPositions: number;
  /** Whether the architecture may rotate only some dimensions of a head. */
  partial: boolean;
}

/**
 * Reads `rope_parameters` of transformers 5, which Gemma 3 has for each kind of layer, or `rope_theta` and `rope_scaling` of
 * transformers 4. The longest sequence is that of the embeddings, except for LongRoPE: beyond its original length all tokens
 * would turn differently, and readers disagree on when, so sequences end there.
 */
export function parseRotaries(json: ConfigObject, sizes: Sizes): { rotaries: RotaryConfig[]; maxLength: number } {
  if (json['rope_parameters'] != null && json['rope_scaling'] != null) {
    throw unsupportedField(
      'rope_scaling',
      'and rope_parameters are both given, and readers disagree on which one counts',
    );
  }
  const rotaries = settingsOf(json).map(({ field, rope }) => parseRotary(field, rope, json, sizes));
  const limits = rotaries.flatMap(({ scaling }) =>
    scaling?.type === 'longrope' ? [scaling.originalMaxPositionEmbeddings] : [],
  );
  return { rotaries, maxLength: Math.min(sizes.maxPositions, ...limits) };
}

/** The settings of each rotary embedding, and the field that has them. */
function settingsOf(json: ConfigObject): { field: string; rope: ConfigObject }[] {
  const field = json['rope_parameters'] != null ? 'rope_parameters' : 'rope_scaling';
  const rope = record(field, json[field] ?? {});
  const kinds = ['full_attention', 'sliding_attention'].filter((kind) => kind in rope);
  if (kinds.length === 2 && Object.keys(rope).length === 2) {
    return kinds.map((kind) => ({ field: `${field}.${kind}`, rope: record(`${field}.${kind}`, rope[kind]) }));
  }
  // Gemma 3 in transformers 4: layers with a window have a base of their own, without scaling.
  const local = json['rope_local_base_freq'];
  const others = local == null ? [] : [{ field: 'rope_local_base_freq', rope: { rope_theta: local } }];
  return [{ field, rope }, ...others];
}

function record(field: string, value: unknown): ConfigObject {
  if (!isRecord(value)) throw invalidField(field, 'is not an object');
  return value;
}

function parseRotary(field: string, rope: ConfigObject, json: ConfigObject, sizes: Sizes): RotaryConfig {
  const theta = 'rope_theta' in rope ? real(rope, 'rope_theta') : real(json, 'rope_theta', 10_000);
  const dim = rotatedDimensions(field, rope, json, sizes);
  const type = rope['rope_type'] ?? rope['type'] ?? 'default';
  const scaling = typeof type === 'string' && Object.hasOwn(scalings, type) ? scalings[type] : undefined;
  if (scaling === undefined) {
    const known = Object.keys(scalings).join(', ');
    throw unsupportedField(`${field}.rope_type`, `is ${shown(type)}; it must be one of ${known}`);
  }
  const fields = ['rope_theta', 'rope_type', 'type', 'partial_rotary_factor', ...scaling.fields];
  const unknown = Object.keys(rope).find((name) => !fields.includes(name) && rope[name] !== null);
  if (unknown !== undefined) {
    throw unsupportedField(`${field}.${unknown.slice(0, 100)}`, 'is unknown and may change what the model computes');
  }
  return { theta, dim, scaling: scaling.read(rope, json, { ...sizes, dim }) };
}

function rotatedDimensions(field: string, rope: ConfigObject, json: ConfigObject, { headDim, partial }: Sizes): number {
  const factor = rope['partial_rotary_factor'] ?? (partial ? json['partial_rotary_factor'] : undefined) ?? 1;
  const name = 'partial_rotary_factor' in rope ? `${field}.partial_rotary_factor` : 'partial_rotary_factor';
  if (factor !== 1 && !partial) throw unsupportedField(name, 'is not 1');
  if (typeof factor !== 'number' || !(factor > 0 && factor <= 1)) {
    throw invalidField(name, `is ${shown(factor)}; it must be above 0 and at most 1`);
  }
  const dim = Math.trunc(headDim * factor);
  if (dim > 0 && dim % 2 === 0) return dim;
  throw invalidField('head_dim', `is ${headDim}, of which ${dim} are rotated; rotary embeddings need an even number`);
}

interface Scaling {
  /** The fields that `read` reads. */
  fields: readonly string[];
  read(rope: ConfigObject, json: ConfigObject, sizes: Sizes & { dim: number }): RopeScaling | undefined;
}

const original = 'original_max_position_embeddings';

/** Every way to scale rotary embeddings, by its name in `rope_type`; those of `_compute_*_parameters` in transformers. */
const scalings: Record<string, Scaling> = {
  // transformers does not read the fields of Llama 3.1 here, but some tools leave them behind.
  default: { fields: ['factor', 'low_freq_factor', 'high_freq_factor', original], read: () => undefined },
  linear: { fields: ['factor', original], read: (rope) => ({ type: 'linear', factor: real(rope, 'factor') }) },
  // Changes nothing before the embeddings end.
  dynamic: { fields: ['factor', original], read: () => undefined },
  llama3: { fields: ['factor', 'low_freq_factor', 'high_freq_factor', original], read: readLlama3 },
  yarn: {
    fields: ['factor', 'attention_factor', 'beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim', 'truncate', original],
    read: readYarn,
  },
  longrope: {
    fields: ['factor', 'attention_factor', 'short_factor', 'long_factor', original],
    read: readLongRope,
  },
  // The name that Phi 3 had first.
  su: { fields: ['factor', 'attention_factor', 'short_factor', 'long_factor', original], read: readLongRope },
};

function readLlama3(rope: ConfigObject): Llama3Scaling {
  const scaling = {
    type: 'llama3' as const,
    factor: real(rope, 'factor'),
    lowFreqFactor: real(rope, 'low_freq_factor'),
    highFreqFactor: real(rope, 'high_freq_factor'),
    originalMaxPositionEmbeddings: counter(rope)(original),
  };
  if (scaling.highFreqFactor <= scaling.lowFreqFactor) {
    throw invalidField('high_freq_factor', `is ${scaling.highFreqFactor}; it must be above low_freq_factor`);
  }
  return scaling;
}

function readYarn(rope: ConfigObject, _: ConfigObject, { maxPositions }: Sizes): YarnScaling {
  const factor = real(rope, 'factor');
  const magnitude = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const [scale, allDims] = [rope['mscale'], rope['mscale_all_dim']].map(Boolean);
  const attentionFactor =
    scale === true && allDims === true
      ? magnitude(real(rope, 'mscale')) / magnitude(real(rope, 'mscale_all_dim'))
      : magnitude(1);
  return {
    type: 'yarn',
    factor,
    betaFast: real(rope, 'beta_fast', 32),
    betaSlow: real(rope, 'beta_slow', 1),
    truncate: rope['truncate'] == null || flag(rope, 'truncate'),
    originalMaxPositionEmbeddings: counter(rope)(original, maxPositions),
    attentionFactor: real(rope, 'attention_factor', attentionFactor),
  };
}

function readLongRope(
  rope: ConfigObject,
  json: ConfigObject,
  { dim, maxPositions }: Sizes & { dim: number },
): LongRopeScaling {
  const originalMaxPositionEmbeddings = counter({ [original]: json[original] ?? rope[original] })(
    original,
    maxPositions,
  );
  const factor = real(rope, 'factor', maxPositions / originalMaxPositionEmbeddings);
  const attentionFactor = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositionEmbeddings));
  const factors = (field: string): number[] => {
    const list = rope[field];
    if (!Array.isArray(list) || list.length !== dim / 2) {
      throw invalidField(field, `does not have a factor for each of the ${dim / 2} pairs of rotated dimensions`);
    }
    return list.map((each: unknown) => real({ [field]: each }, field));
  };
  return {
    type: 'longrope',
    shortFactor: factors('short_factor'),
    longFactor: factors('long_factor'),
    originalMaxPositionEmbeddings,
    attentionFactor: real(rope, 'attention_factor', attentionFactor),
  };
}
