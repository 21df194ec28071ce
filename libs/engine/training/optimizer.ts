/** The trained vectors and their AdamW moments; all lists have the same sizes. */
export interface OptimizerState {
  /** The number of optimizer steps so far. */
  step: number;
  parameters: Float32Array[];
  firstMoments: Float32Array[];
  secondMoments: Float32Array[];
}

export interface AdamW {
  learningRate: number;
  weightDecay: number;
  adamBeta1: number;
  adamBeta2: number;
  adamEpsilon: number;
}

/** The state before the first step. */
export function initialState(parameters: Float32Array[]): OptimizerState {
  const zeros = () => parameters.map(({ length }) => new Float32Array(length));
  return { step: 0, parameters, firstMoments: zeros(), secondMoments: zeros() };
}

/** The L2 norm of all gradients together, summed in float64. */
export function globalNorm(gradients: readonly Float32Array[]): number {
  let sum = 0;
  for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) sum += gradient[i]! ** 2;
  return Math.sqrt(sum);
}

/** The factor by which torch's clip_grad_norm_ would scale gradients with this norm. A maximum of 0 disables clipping. */
export function clipFactor(norm: number, maxNorm: number): number {
  return maxNorm === 0 ? 1 : Math.min(1, maxNorm / (norm + 1e-6));
}

/**
 * Takes one AdamW step (arXiv 1711.05101) in place, like torch: decoupled weight decay, bias correction, float32 state. The
 * gradients are multiplied by `factor` first.
 */
export function adamwStep(
  state: OptimizerState,
  gradients: readonly Float32Array[],
  { learningRate, weightDecay, adamBeta1, adamBeta2, adamEpsilon }: AdamW,
  factor: number,
): void {
  state.step += 1;
  const firstCorrection = 1 - adamBeta1 ** state.step;
  const rootCorrection = Math.sqrt(1 - adamBeta2 ** state.step);
  const stepSize = learningRate / firstCorrection;
  const decay = 1 - learningRate * weightDecay;
  gradients.forEach((gradient, index) => {
    const parameters = state.parameters[index]!;
    const first = state.firstMoments[index]!;
    const second = state.secondMoments[index]!;
    for (let i = 0; i < gradient.length; i++) {
      const g = gradient[i]! * factor;
      const m = adamBeta1 * first[i]! + (1 - adamBeta1) * g;
      const v = adamBeta2 * second[i]! + (1 - adamBeta2) * g * g;
      first[i] = m;
      second[i] = v;
      parameters[i] = parameters[i]! * decay - (stepSize * m) / (Math.sqrt(v) / rootCorrection + adamEpsilon);
    }
  });
}
