/** The log probability of a token under softmax(logits), in nats, summed in float64. */
export function logSoftmaxAt(logits: Float32Array, token: number): number {
  const most = maximum(logits);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return logits[token]! - most - Math.log(sum);
}

/** KL(p || q) of two distributions given as logits, in nats, and whether both have the same most likely token. */
export function divergenceOf(p: Float32Array, q: Float32Array): { klDivergence: number; sameTop: boolean } {
  const [mostP, mostQ] = [maximum(p), maximum(q)];
  let [sumP, sumQ, weighted] = [0, 0, 0];
  for (let token = 0; token < p.length; token++) {
    const [logP, logQ] = [p[token]! - mostP, q[token]! - mostQ];
    const weight = Math.exp(logP);
    sumP += weight;
    sumQ += Math.exp(logQ);
    weighted += weight * (logP - logQ);
  }
  const klDivergence = weighted / sumP - Math.log(sumP) + Math.log(sumQ);
  return { klDivergence: Math.max(0, klDivergence), sameTop: p.indexOf(mostP) === q.indexOf(mostQ) };
}

/**
 * Chooses the next token: at temperature 0 the most likely one (the first, if there are several), otherwise one drawn from
 * softmax(logits / temperature) with one call of `random`, which returns numbers in [0, 1).
 */
export function chooseToken(logits: Float32Array, temperature: number, random: () => number): number {
  if (temperature === 0) return logits.indexOf(maximum(logits));
  const most = maximum(logits);
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - most) / temperature));
  let left = random() * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [token, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return token;
  }
  return logits.indexOf(most);
}

/** Numbers in [0, 1) from a 32-bit seed, the same on every machine (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function maximum(logits: Float32Array): number {
  return logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
}
