import type { ModelConfig } from './config.ts';

/**
 * Rotary frequencies `[headDim / 2]`, in radians per position, rounded to float32 like those of transformers. The scaling of
 * Llama 3.1 divides low frequencies by `factor`, keeps high ones and blends those in between.
 */
export function rotaryFrequencies({ headDim, ropeTheta, ropeScaling }: ModelConfig): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const frequency = Math.fround(1 / ropeTheta ** ((2 * i) / headDim));
    if (ropeScaling === undefined) return frequency;
    const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: original } = ropeScaling;
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength < original / highFreqFactor) return frequency;
    if (wavelength > original / lowFreqFactor) return frequency / factor;
    const smooth = (original / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

/** The cosines and sines of the angles of each position: `[positions, headDim / 2]` each. */
export function rotaryTables(
  frequencies: Float32Array,
  positions: Int32Array,
): { cos: Float32Array<SharedArrayBuffer>; sin: Float32Array<SharedArrayBuffer> } {
  const half = frequencies.length;
  const table = () => new Float32Array(new SharedArrayBuffer(positions.length * half * 4));
  const [cos, sin] = [table(), table()];
  for (let row = 0; row < positions.length; row++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(positions[row]! * frequencies[i]!);
      cos[row * half + i] = Math.cos(angle);
      sin[row * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
