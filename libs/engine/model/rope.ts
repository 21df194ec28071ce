import type { RotaryConfig } from './configRope.ts';

/**
 * Rotary frequencies `[dim / 2]`, in radians per position, rounded to float32 like those of transformers, for sequences that
 * are not longer than the model's `maxLength`.
 */
export function rotaryFrequencies({ theta, dim, scaling }: RotaryConfig): Float32Array {
  const plain = Float32Array.from({ length: dim / 2 }, (_, i) => 1 / theta ** ((2 * i) / dim));
  switch (scaling?.type) {
    case undefined:
      return plain;
    case 'linear':
      return plain.map((frequency) => frequency / scaling.factor);
    case 'longrope':
      return plain.map((frequency, i) => frequency / scaling.shortFactor[i]!);
    // Low frequencies are divided by the factor, high ones kept, and those in between blended.
    case 'llama3':
      return plain.map((frequency) => {
        const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: original } = scaling;
        const wavelength = (2 * Math.PI) / frequency;
        if (wavelength < original / highFreqFactor) return frequency;
        if (wavelength > original / lowFreqFactor) return frequency / factor;
        const smooth = (original / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
        return ((1 - smooth) * frequency) / factor + smooth * frequency;
      });
    case 'yarn': {
      const { factor, betaFast, betaSlow, truncate, originalMaxPositionEmbeddings: original } = scaling;
      // The dimension that completes this number of turns within the original length.
      const dimensionOf = (turns: number) => (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      const [fast, slow] = [dimensionOf(betaFast), dimensionOf(betaSlow)];
      const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
      const high = Math.min(truncate ? Math.ceil(slow) : slow, dim - 1);
      return plain.map((frequency, i) => {
        const ramp = Math.min(Math.max((i - low) / (high === low ? 0.001 : high - low), 0), 1);
        return (frequency / factor) * ramp + frequency * (1 - ramp);
      });
    }
  }
}

/** The cosines and sines of the angles of each position, times the attention factor: `[positions, dim / 2]` each. */
export function rotaryTables(
  rotary: RotaryConfig,
  positions: Int32Array,
): { cos: Float32Array<SharedArrayBuffer>; sin: Float32Array<SharedArrayBuffer> } {
  const frequencies = rotaryFrequencies(rotary);
  const half = frequencies.length;
  const factor =
    rotary.scaling !== undefined && 'attentionFactor' in rotary.scaling ? rotary.scaling.attentionFactor : 1;
  const table = () => new Float32Array(new SharedArrayBuffer(positions.length * half * 4));
  const [cos, sin] = [table(), table()];
  for (let row = 0; row < positions.length; row++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(positions[row]! * frequencies[i]!);
      cos[row * half + i] = factor * Math.cos(angle);
      sin[row * half + i] = factor * Math.sin(angle);
    }
  }
  return { cos, sin };
}
