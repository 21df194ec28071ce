import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';

// Installs what `npm pack` builds into an empty folder outside the repository, as a user would.

const root = resolve(import.meta.dirname, '../../..');
const folder = mkdtempSync(join(tmpdir(), 'pairwise-package-'));
const home = join(folder, 'installed');
const program = join(home, 'node_modules/.bin/pairwise');

/** Our environment without the variables of the repository and of npm, except npm's cache. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(PAIRWISE_|NODE_OPTIONS|npm_(package|lifecycle)|OTEL_)/i.test(name),
  ),
);

const run = (command: string, args: readonly string[], cwd: string, more: Record<string, string> = {}) =>
  execFileSync(command, args, { cwd, env: { ...environment, ...more }, encoding: 'utf8', stdio: 'pipe' });

beforeAll(() => {
  run('npm', ['pack', '--silent', '--workspace=tools/cli', `--pack-destination=${folder}`], root);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;
  mkdirSync(home);
  writeFileSync(join(home, 'package.json'), '{"private": true}');
  run('npm', ['install', '--no-progress', '--prefer-offline', join(folder, tarball)], home);
}, 300_000);

afterAll(() => {
  rmSync(folder, { recursive: true });
});

test('packing leaves the workspace unchanged', () => {
  expect(existsSync(join(import.meta.dirname, '../dist'))).toBe(false);
  expect(run('git', ['status', '--porcelain', 'tools/cli/package.json'], root)).toBe('');
});

test('one package contains everything, and the licence', () => {
  const installed = join(home, 'node_modules');
  expect(existsSync(join(installed, '@pairwise'))).toBe(false);
  expect(existsSync(join(installed, 'pairwise/LICENSE'))).toBe(true);
});

test('the installed platform runs up to the verified GGUF file', { timeout: 240_000 }, async () => {
  writeTinyModel(join(folder, 'model'));
  writeFileSync(join(folder, 'pairs.jsonl'), tinyPairs(24));
  const spec = {
    model: { uri: join(folder, 'model') },
    dataset_version: 'projects/default/datasets/pairs/versions/1',
    training: { max_steps: 2, lora: { r: 4 } },
    export_targets: [{ gguf: { type: 'F16' } }],
  };
  writeFileSync(join(folder, 'run.yaml'), JSON.stringify(spec));
  const up = spawn(program, ['up', '--listen', '127.0.0.1:0', '--data', join(folder, 'data')], {
    cwd: home,
    env: { ...environment, PAIRWISE_MODEL_ROOTS: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(up, 'exit');
  try {
    let address: string | undefined;
    for await (const line of createInterface({ input: up.stdout })) {
      address = /"msg":"Pairwise is up on ([^"]+)"/.exec(line)?.[1];
      if (address !== undefined) break;
    }
    const pairwise = (...words: string[]) => run(program, words, home, { PAIRWISE_ADDRESS: address! });
    pairwise('datasets', 'import', 'pairs', join(folder, 'pairs.jsonl'));
    expect(pairwise('runs', 'create', '--file', join(folder, 'run.yaml'), '--watch')).toContain('succeeded');
    const { name } = JSON.parse(pairwise('runs', 'list', '--json')) as { name: string };
    pairwise('artifacts', 'download', name.split('/').at(-1)!, '--output', join(folder, 'artifacts'));
    expect(
      readdirSync(join(folder, 'artifacts'), { recursive: true }).some((name) => String(name).endsWith('.gguf')),
    ).toBe(true);
  } finally {
    up.kill('SIGINT');
    expect((await ended)[0]).toBe(0);
  }
});
