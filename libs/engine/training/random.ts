/**
 * A stream of uniform numbers in [0, 1), the same on every machine for the same seed and purpose. It is Mulberry32; 32 bits of
 * state are enough for shuffling and initial weights. The initial state is an FNV-1a hash of seed and purpose, so streams for
 * different purposes do not overlap in practice.
 */
export function uniformStream(seed: number, purpose: string): () => number {
  let state = 0x811c9dc5;
  for (const letter of `${seed}/${purpose}`) state = Math.imul(state ^ letter.codePointAt(0)!, 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The numbers 0 to count - 1 in a random order that depends on seed and purpose (Fisher-Yates). */
export function shuffled(count: number, seed: number, purpose: string): Int32Array {
  const order = Int32Array.from({ length: count }, (_, index) => index);
  const uniform = uniformStream(seed, purpose);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(uniform() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
