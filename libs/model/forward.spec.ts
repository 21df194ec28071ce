import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { graphBuilder } from '@pairwise/onnx';
import { describe, expect, test } from 'vitest';
import { sharedFolder } from '../../tools/goldens/shared.ts';
import { openSession, type Session } from '../ort/index.ts';
import {
  frozenLinear,
  frozenWeights,
  packedInputs,
  packSegments,
  readCheckpoint,
  tokenLogps,
  type ModelConfig,
  type Segment,
} from './index.ts';
import { folderAt } from './testing.ts';

const shared = sharedFolder();

async function openForward(path: string): Promise<{ config: ModelConfig; session: Session }> {
  const checkpoint = await readCheckpoint(await folderAt(path));
  const { config } = checkpoint;
  const g = graphBuilder('forward');
  const weight = frozenWeights(g, checkpoint);
  const linears = (
    x: Parameters<typeof frozenLinear>[1],
    layer: number,
    modules: readonly Parameters<typeof frozenLinear>[3][],
  ) => modules.map((module) => frozenLinear(g, x, layer, module, weight));
  g.output('token_logps', tokenLogps(g, config, packedInputs(g, config), { weight, linears }));
  return { config, session: await openSession({ graph: g.finish(), folder: path, threads: 1 }) };
}

/** Logps of every branch of every segment, in order. */
async function logps(session: Session, config: ModelConfig, segments: Segment[]): Promise<Float32Array[]> {
  const { feeds, branches } = packSegments(segments, config);
  const results = await session.run(feeds);
  const all = results['token_logps']!.data as Float32Array;
  return branches.map(({ start, end }) => all.slice(start, end));
}

function largestDifference(got: Float32Array[], wanted: number[][]): number {
  expect(got.map(({ length }) => length)).toEqual(wanted.map(({ length }) => length));
  return Math.max(...got.flatMap((row, i) => [...row].map((value, j) => Math.abs(value - wanted[i]![j]!))));
}

describe.skipIf(shared === undefined)('logps of the field’s own tools', () => {
  test.each(['llama3', 'llama3-tied-bf16', 'mistral'])('%s', async (name) => {
    const path = join(shared!, 'archs', name);
    const golden = JSON.parse(readFileSync(join(path, 'golden_logps.json'), 'utf8')) as {
      token_ids: number[][];
      token_logps: number[][];
    };
    const { config, session } = await openForward(path);
    const segments = golden.token_ids.map(([first, ...rest]) => ({
      prefix: Int32Array.of(first!),
      branches: [Int32Array.from(rest)],
    }));
    // transformers' own float32 and float64 differ by about 1e-6; 1e-4 leaves room for another order of additions.
    expect(largestDifference(await logps(session, config, segments), golden.token_logps)).toBeLessThan(1e-4);
    await session.close();
  });

  test('stories260K: pairs, packed, against one sequence at a time in float64', async () => {
    const { config, session } = await openForward(join(shared!, 'models/stories260K-eos1'));
    const golden = JSON.parse(readFileSync(join(shared!, 'goldens/ids_first64.json'), 'utf8')) as {
      pairs: Record<
        'prompt_ids' | 'chosen_ids' | 'rejected_ids' | 'ref_chosen_token_logps' | 'ref_rejected_token_logps',
        number[]
      >[];
    };
    const segments = golden.pairs.map((pair) => ({
      prefix: Int32Array.from(pair.prompt_ids),
      branches: [Int32Array.from(pair.chosen_ids), Int32Array.from(pair.rejected_ids)],
    }));
    const wanted = golden.pairs.flatMap((pair) => [pair.ref_chosen_token_logps, pair.ref_rejected_token_logps]);
    const packed = await logps(session, config, segments);
    expect(largestDifference(packed, wanted)).toBeLessThan(2e-4);

    // Packed or one by one, sharing the prompt or not: the same but for the order of additions in float32.
    const few = segments.slice(0, 6);
    const alone = (await Promise.all(few.map((segment) => logps(session, config, [segment])))).flat();
    const apart = await logps(
      session,
      config,
      few.flatMap(({ prefix, branches }) => branches.map((branch) => ({ prefix, branches: [branch] }))),
    );
    const rows = (list: Float32Array[]) => list.map((row) => [...row]);
    expect(largestDifference(alone, rows(packed.slice(0, 12)))).toBeLessThan(2e-5);
    expect(largestDifference(apart, rows(packed.slice(0, 12)))).toBeLessThan(2e-5);
    await session.close();
  });

  test.each([
    ['gemma2', 'UNSUPPORTED_ARCHITECTURE', 'Gemma2ForCausalLM'],
    ['gemma3-text', 'UNSUPPORTED_ARCHITECTURE', 'Gemma3ForCausalLM'],
    ['phi3', 'UNSUPPORTED_ARCHITECTURE', 'Phi3ForCausalLM'],
    ['qwen2-sharded', 'UNSUPPORTED_ARCHITECTURE', 'Qwen2ForCausalLM'],
    ['qwen3', 'UNSUPPORTED_ARCHITECTURE', 'Qwen3ForCausalLM'],
  ])('%s is refused by name', async (name, reason, text) => {
    const folder = await folderAt(join(shared!, 'archs', name));
    await expect(readCheckpoint(folder)).rejects.toMatchObject({
      reason,
      message: expect.stringContaining(text) as string,
    });
  });

  test('a sliding window limits the length', async () => {
    const { config } = await readCheckpoint(await folderAt(join(shared!, 'archs/mistral-swa16')));
    expect(config.maxLength).toBe(16);
  });
});
