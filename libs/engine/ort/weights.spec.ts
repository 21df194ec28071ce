import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { dtypes, graphBuilder, ops, type Dtype, type GraphBuilder, type Value } from '@pairwise/onnx';
import { openSession } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'pairwise-ort-'));
afterAll(() => rmSync(folder, { recursive: true }));

function write(path: string, offset: number, count = 16): string {
  const numbers = Float32Array.from({ length: count }, (_, index) => index);
  writeFileSync(join(folder, path), Buffer.concat([Buffer.alloc(offset), Buffer.from(numbers.buffer)]));
  return path;
}

function reader(location: string, offset: number, side = 4) {
  const g = graphBuilder('reader');
  const { gemm } = ops(g);
  const w = g.external('w', 'float32', [side, side], { location, offset, length: side * side * 4 });
  g.output('y', gemm(g.input('x', 'float32', ['T', side]), w, { transB: true }));
  return g.finish();
}

async function secondColumn(location: string, offset: number): Promise<number[]> {
  const session = await openSession({ graph: reader(location, offset), folder, threads: 1 });
  const results = await session.run({ x: { dtype: 'float32', dims: [1, 4], data: Float32Array.of(0, 1, 0, 0) } });
  await session.close();
  return [...(results.y!.data as Float32Array)];
}

test.each([0, 8, 12, 13, 4099])('weights at offset %i', async (offset) => {
  expect(await secondColumn(write(`at-${offset}.safetensors`, offset), offset)).toEqual([1, 5, 9, 13]);
});

test('weights behind links and in other folders', async () => {
  mkdirSync(join(folder, 'blobs'));
  mkdirSync(join(folder, 'snapshot'));
  write('blobs/abc', 8);
  symlinkSync('../blobs/abc', join(folder, 'snapshot/symbolic.safetensors'));
  linkSync(join(folder, 'blobs/abc'), join(folder, 'snapshot/hard.safetensors'));
  symlinkSync(join(folder, 'blobs'), join(folder, 'elsewhere'));
  for (const location of [
    'snapshot/symbolic.safetensors',
    'snapshot/hard.safetensors',
    'elsewhere/abc',
    'snapshot/../blobs/abc',
  ]) {
    expect(await secondColumn(location, 8), location).toEqual([1, 5, 9, 13]);
  }
});

test('missing and truncated weights are refused', async () => {
  await expect(secondColumn('none.safetensors', 0)).rejects.toMatchObject({ reason: 'INVALID_FILE', message: /none/ });
  await expect(secondColumn(write('short.safetensors', 0, 15), 0)).rejects.toMatchObject({
    reason: 'INVALID_FILE',
    message: /ends at byte 60, but w at 64/,
  });
});

const onLinux = test.runIf(process.platform === 'linux');
const anonymousMb = () => Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;

onLinux('weights stay in the mapped file', async () => {
  const side = 4096;
  write('large.safetensors', 8, side * side);
  const before = anonymousMb();
  const session = await openSession({ graph: reader('large.safetensors', 8, side), folder, threads: 1 });
  await session.run({ x: { dtype: 'float32', dims: [1, side], data: new Float32Array(side) } });
  expect(anonymousMb() - before).toBeLessThan(48);
  await session.close();
});

/** How a square matrix is stored, and the matrix. A hole in a file reads as zeros. */
const storedMatrix: Record<string, (g: GraphBuilder, side: number) => Value> = {
  bfloat16: (g, side) => ops(g).cast(hole(g, 'bfloat16', [side, side]), 'float32'),
  float16: (g, side) => ops(g).cast(hole(g, 'float16', [side, side]), 'float32'),
  int8: (g, side) => ops(g).dequantizeInt8(hole(g, 'int8', [side, side]), hole(g, 'float32', [side])),
  NF4: (g, side) => {
    const [codes, absmax] = [hole(g, 'uint8', [side, side / 2]), hole(g, 'float32', [(side * side) / 64, 1])];
    return ops(g).dequantizeNf4(codes, absmax, 'bfloat16');
  },
};

function hole(g: GraphBuilder, dtype: Dtype, shape: number[]): Value {
  const location = `${names++}.safetensors`;
  const length = shape.reduce((a, b) => a * b, dtypes[dtype].bytes);
  writeFileSync(join(folder, location), '');
  truncateSync(join(folder, location), length);
  return g.external(location, dtype, shape, { location, offset: 0, length });
}
let names = 0;

onLinux.each(Object.keys(storedMatrix))(
  '%s weights become float32 one at a time, as often as they are used',
  async (kind) => {
    const [count, side] = [8, 4096];
    const g = graphBuilder('chain');
    const { gather, gemm, targetLogps } = ops(g);
    const embedding = storedMatrix.bfloat16!(g, side);
    const weights = Array.from({ length: count }, () => storedMatrix[kind]!(g, side));
    const rows = g.input('rows', 'int32', ['T']);
    let x = gather(embedding, rows);
    for (const weight of weights) x = gemm(x, weight, { transB: true });
    for (const weight of weights.toReversed()) x = gemm(x, weight);
    g.output('y', targetLogps(x, embedding, rows, { rows: 512 }));
    const before = anonymousMb();
    let most = before;
    const timer = setInterval(() => (most = Math.max(most, anonymousMb())), 1);
    const session = await openSession({ graph: g.finish(), folder, threads: 1 });
    const { y } = await session.run({ rows: { dtype: 'int32', dims: [2], data: Int32Array.of(0, 1) } });
    clearInterval(timer);
    await session.close();
    expect(y!.data).toEqual(new Float32Array(2).fill(Math.fround(-Math.log(side))));
    // A matrix has 64 MB in float32, and while it is computed up to three times that; all of them have 576 MB.
    expect(most - before).toBeLessThan(256);
  },
);
