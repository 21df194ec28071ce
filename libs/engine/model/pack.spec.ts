import { expect, test } from 'vitest';
import { packTrees, parseConfig, rowCount, targetCount, type TokenTree } from './index.ts';

const config = parseConfig({
  architectures: ['LlamaForCausalLM'],
  hidden_size: 16,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 100,
  max_position_embeddings: 64,
  hidden_act: 'silu',
});
const pair: TokenTree = {
  prefix: Int32Array.of(10, 11, 12),
  branches: [Int32Array.of(20, 21), Int32Array.of(30, 31, 32)],
};
const single: TokenTree = { prefix: Int32Array.of(40), branches: [Int32Array.of(50)] };
const numbers = (trees: TokenTree[], feed: string) => Array.from(packTrees(trees, config).feeds[feed]!.data, Number);

test('rows are the tokens without the last of each branch; targets are all tokens of the branches', () => {
  expect([rowCount(pair), targetCount(pair), rowCount(single), targetCount(single)]).toEqual([6, 5, 1, 1]);
  const packed = packTrees([pair, single], config);
  expect([packed.tokenCount, packed.targetCount]).toEqual([7, 6]);
  expect(numbers([pair, single], 'tokens')).toEqual([10, 11, 12, 20, 30, 31, 40]);
  expect(numbers([pair, single], 'targets')).toEqual([20, 21, 30, 31, 32, 50]);
  expect(packed.branches).toEqual([
    { tree: 0, branch: 0, start: 0, end: 2 },
    { tree: 0, branch: 1, start: 2, end: 5 },
    { tree: 1, branch: 0, start: 5, end: 6 },
  ]);
});

test('the last row of a prompt predicts the first token of both responses, and the inverses list both', () => {
  expect(numbers([pair, single], 'logit_rows')).toEqual([2, 3, 2, 4, 5, 6]);
  expect(numbers([pair, single], 'predicted_0')).toEqual([-1, -1, 0, 1, 3, 4, 5]);
  expect(numbers([pair, single], 'predicted_1')).toEqual([-1, -1, 2, -1, -1, -1, -1]);
});

test('the positions of both responses continue those of the prompt', () => {
  // sin of the highest frequency, 1, is sin(position).
  const sin = packTrees([pair], config).feeds['sin_0']!;
  const half = sin.dims[2]!;
  const positions = [0, 1, 2, 3, 3, 4];
  positions.forEach((position, row) => expect(Number(sin.data[row * half])).toBeCloseTo(Math.sin(position), 6));
});

test('rows carry their positions, a number for their prefix or branch, and that of their prefix', () => {
  expect(numbers([pair, single], 'positions')).toEqual([0, 1, 2, 3, 3, 4, 0]);
  expect(numbers([pair, single, single], 'branches')).toEqual([0, 0, 0, 1, 2, 2, 3, 5]);
  expect(numbers([pair, single, single], 'prefixes')).toEqual([0, 0, 0, 0, 0, 0, 3, 5]);
});

test.each<[string, TokenTree[]]>([
  ['no token trees', []],
  ['an empty prefix or branch', [{ prefix: new Int32Array(0), branches: [Int32Array.of(1)] }]],
  ['an empty prefix or branch', [{ prefix: Int32Array.of(1), branches: [Int32Array.of(1), new Int32Array(0)] }]],
  ['one or two', [{ prefix: Int32Array.of(1), branches: [] }]],
  ['one or two', [{ prefix: Int32Array.of(1), branches: [1, 2, 3].map((id) => Int32Array.of(id)) }]],
])('refuses %s', (message, trees) => {
  const error = { reason: 'INVALID_ARGUMENT', message: expect.stringContaining(message) as string };
  expect(() => packTrees(trees, config)).toThrow(expect.objectContaining(error) as Error);
});
