import { describe, expect, test } from 'vitest';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './index.ts';

const all = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);
const kinds = [
  {
    name: 'float16',
    widen: float16ToFloat32,
    narrow: float32ToFloat16,
    exponentBits: 5,
    mantissaBits: 10,
    largest: 65504,
  },
  {
    name: 'bfloat16',
    widen: bfloat16ToFloat32,
    narrow: float32ToBfloat16,
    exponentBits: 8,
    mantissaBits: 7,
    largest: (2 - 2 ** -7) * 2 ** 127,
  },
];

describe.each(kinds)('$name', ({ widen, narrow, exponentBits, mantissaBits, largest }) => {
  /** What the bits mean, by the definition of IEEE 754. */
  function meaning(bits: number): number {
    const sign = bits >> 15 === 1 ? -1 : 1;
    const exponent = (bits >> mantissaBits) & (2 ** exponentBits - 1);
    const fraction = (bits & (2 ** mantissaBits - 1)) / 2 ** mantissaBits;
    const bias = 2 ** (exponentBits - 1) - 1;
    if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
    return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
  }
  const one = (value: number) => narrow(Float32Array.of(value))[0]!;

  test('every bit pattern means what it should and comes back', () => {
    const wide = widen(all);
    const back = narrow(wide);
    let wrong = 0;
    for (const bits of all) {
      if (!Object.is(wide[bits], meaning(bits))) wrong += 1;
      const same = Number.isNaN(wide[bits]) ? Number.isNaN(meaning(back[bits]!)) : back[bits] === bits;
      if (!same) wrong += 1;
    }
    expect(wrong).toBe(0);
  });

  test('halfway between two neighbours the even one wins, beside it the nearer one', () => {
    const infinite = (2 ** exponentBits - 1) << mantissaBits;
    const neighbours = Array.from({ length: infinite - 1 }, (_, low) => low);
    const middles = Float32Array.from(neighbours, (low) => (meaning(low) + meaning(low + 1)) / 2);
    const nudged = (step: number) => {
      const copy = middles.slice();
      const bits = new Uint32Array(copy.buffer);
      // All are positive, so that the next bit pattern is the next number.
      bits.forEach((word, i) => (bits[i] = word + step));
      return narrow(copy);
    };
    const [below, middle, above] = [nudged(-1), nudged(0), nudged(1)];
    const wrong = neighbours.filter(
      (low) => below[low] !== low || middle[low] !== low + (low & 1) || above[low] !== low + 1,
    );
    expect(wrong).toEqual([]);
  });

  test('the ends: largest, infinite, smallest, zeros', () => {
    const infinite = (2 ** exponentBits - 1) << mantissaBits;
    const halfUlp = largest * 2 ** -(mantissaBits + 2);
    expect(one(largest)).toBe(infinite - 1);
    expect(one(largest + halfUlp / 4)).toBe(infinite - 1);
    expect(one(3.4e38)).toBe(infinite);
    expect([one(Infinity), one(-Infinity)]).toEqual([infinite, infinite | 0x8000]);
    expect([one(0), one(-0)]).toEqual([0, 0x8000]);
    expect(one(2 ** -149)).toBe(0);
    expect(Number.isNaN(meaning(one(NaN)))).toBe(true);
  });

  test('parts of larger arrays', () => {
    expect(narrow(Float32Array.of(9, 1, 2, 9).subarray(1, 3))).toEqual(Uint16Array.of(one(1), one(2)));
    expect(widen(Uint16Array.of(0, one(1), one(2)).subarray(1))).toEqual(Float32Array.of(1, 2));
  });
});

test('a NaN whose payload is all in the lower half stays NaN in bfloat16', () => {
  const nan = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001).buffer);
  expect([...bfloat16ToFloat32(float32ToBfloat16(nan))]).toEqual([NaN, NaN]);
});
