import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { graphBuilder, ops, type Dtype, type GraphBuilder, type Value } from '@pairwise/onnx';
import { openSession, type Tensor } from '@pairwise/ort';
import { bfloat16ToFloat32, float16ToFloat32, readSafetensors } from '@pairwise/safetensors';
import { sharedFolder } from '@pairwise/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dequantizeInt8, dequantizeNf4, quantizeInt8, quantizeNf4, type Quantized } from './index.ts';

const shared = sharedFolder();

// ../shared/goldens/nf4/README.md describes them.
describe.skipIf(shared === undefined)('the numbers of bitsandbytes', () => {
  const goldens = () => readSafetensors(readFileSync(join(shared!, 'goldens/nf4/nf4.safetensors')));
  const wide = (data: unknown, dtype: Dtype) => {
    if (dtype === 'float32') return data as Float32Array;
    return (dtype === 'bfloat16' ? bfloat16ToFloat32 : float16ToFloat32)(data as Uint16Array);
  };
  const cases = [
    ['a', 'float32'],
    ['b', 'bfloat16'],
    ['c', 'float16'],
  ] as const;

  test.each(cases)('NF4: weights %s in %s', (name, dtype) => {
    const tensors = goldens();
    const weights = wide(tensors.get(`${name}.weight`)!.data, dtype);
    const quantized = quantizeNf4(weights);
    expect(quantized.codes).toEqual(tensors.get(`${name}.single.packed`)!.data);
    expect(quantized.absmax).toEqual(tensors.get(`${name}.single.absmax`)!.data);
    // The rows of c are not whole blocks: there the CPU kernel of bitsandbytes 0.50.2 reads the wrong blocks' magnitudes.
    if (name === 'c') return;
    const back = dequantizeNf4(quantized, weights.length, dtype);
    expect(back).toEqual(wide(tensors.get(`${name}.single.dequantized`)!.data, dtype));
  });

  test.each(cases)('int8: weights %s in %s', (name, dtype) => {
    const tensors = goldens();
    const { data, shape } = tensors.get(`${name}.weight`)!;
    const quantized = quantizeInt8(wide(data, dtype), shape[1]!);
    expect(quantized.codes).toEqual(tensors.get(`${name}.int8.q`)!.data);
    expect(quantized.absmax).toEqual(tensors.get(`${name}.int8.row_absmax`)!.data);
  });
});

test('NF4: values map to themselves, in blocks of their own scale; zeros and the ends are exact', () => {
  const weights = Float32Array.from({ length: 130 }, (_, i) => (i < 64 ? 0 : i < 128 ? (i % 2 ? 3 : -3) : 0.125));
  const quantized = quantizeNf4(weights);
  expect([...quantized.absmax]).toEqual([0, 3, 0.125]);
  expect(dequantizeNf4(quantized, weights.length, 'float32')).toEqual(weights);
});

test('int8: halves are rounded to even codes, and rows of another length are refused', () => {
  expect([...quantizeInt8(Float32Array.of(127, 0.5, 1.5, -2.5, -127, 0), 3).codes]).toEqual([127, 0, 2, -2, -127, 0]);
  expect(() => quantizeInt8(new Float32Array(5), 2)).toThrow('5 weights are not rows of 2');
});

describe('in a graph', () => {
  const [rows, columns] = [48, 128];
  const weights = Float32Array.from({ length: rows * columns }, (_, i) => 0.05 * Math.sin(i * i) * (1 + (i % 7)));
  const feeds: Record<string, Tensor> = {
    x: {
      dtype: 'float32',
      dims: [5, columns],
      data: Float32Array.from({ length: 5 * columns }, (_, i) => Math.cos(i)),
    },
  };
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'pairwise-quantization-'))));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Declares tensors of a file. */
  function externals(g: GraphBuilder, file: string, tensors: readonly [Dtype, number[], ArrayBufferView][]): Value[] {
    writeFileSync(join(folder, file), Buffer.concat(tensors.map(([, , data]) => bytesOf(data))));
    let offset = 0;
    return tensors.map(([dtype, shape, { byteLength: length }], i) => {
      const value = g.external(`${file}/${i}`, dtype, shape, { location: file, offset, length });
      offset += length;
      return value;
    });
  }
  const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => Buffer.from(buffer, byteOffset, byteLength);

  const nf4 = (g: GraphBuilder, { codes, absmax }: Quantized<Uint8Array>, dtype: Dtype) => {
    const [first, second] = externals(g, `nf4-${dtype}`, [
      ['uint8', [rows, columns / 2], codes],
      ['float32', [(rows * columns) / 64, 1], absmax],
    ]);
    return ops(g).dequantizeNf4(first!, second!, dtype);
  };
  const int8 = (g: GraphBuilder, { codes, absmax }: Quantized<Int8Array>) => {
    const [first, second] = externals(g, 'int8', [
      ['int8', [rows, columns], codes],
      ['float32', [rows], absmax],
    ]);
    return ops(g).dequantizeInt8(first!, second!);
  };
  const plain = (g: GraphBuilder, name: string, values: Float32Array) =>
    externals(g, name, [['float32', [rows, columns], values]])[0]!;

  /** Products in both directions, as in a forward and a backward pass, and with `whole` the matrix itself. */
  async function results(matrix: (g: GraphBuilder) => Value, whole: boolean): Promise<Float32Array[]> {
    const g = graphBuilder('quantized');
    const { gemm } = ops(g);
    const x = g.input('x', 'float32', ['T', columns]);
    const w = matrix(g);
    const y = gemm(x, w, { transB: true });
    g.output('y', y);
    g.output('back', gemm(y, w));
    if (whole) g.output('w', w);
    const session = await openSession({ graph: g.finish(), folder, threads: 1 });
    const values = await session.run(feeds);
    await session.close();
    return Object.values(values).map(({ data }) => data as Float32Array);
  }

  test.each(['float32', 'bfloat16', 'float16'] as const)(
    'NF4 of %s weights computes with its numbers',
    async (dtype) => {
      const quantized = quantizeNf4(weights);
      const numbers = dequantizeNf4(quantized, weights.length, dtype);
      for (const whole of [false, true]) {
        const got = await results((g) => nf4(g, quantized, dtype), whole);
        expect(got).toEqual(await results((g) => plain(g, `plain-${dtype}`, numbers), whole));
      }
    },
  );

  test('int8 computes with its numbers', async () => {
    const quantized = quantizeInt8(weights, columns);
    for (const whole of [false, true]) {
      const got = await results((g) => int8(g, quantized), whole);
      expect(got).toEqual(await results((g) => plain(g, 'plain', dequantizeInt8(quantized)), whole));
    }
  });

  test('codes and magnitudes that do not fit are refused', () => {
    const g = graphBuilder('refused');
    const value = (dtype: Dtype, ...shape: number[]) => g.input(`${dtype} ${shape.join()}`, dtype, shape);
    const { dequantizeInt8: int8Matrix, dequantizeNf4: nf4Matrix } = ops(g);
    expect(() => nf4Matrix(value('uint8', 2, 64), value('float32', 3, 1), 'float32')).toThrow(
      /2,64 \[2, 64\].*3,1 \[3, 1\]/,
    );
    expect(() => int8Matrix(value('int8', 2, 64), value('float32', 64))).toThrow(/2,64 \[2, 64\].*64 \[64\]/);
  });
});
