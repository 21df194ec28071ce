import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

// The rules of .dependency-cruiser.cjs are run over a copy of the tree that holds one offence against each.

const root = resolve(import.meta.dirname, '../..');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'boundaries-'));
  for (const file of ['.dependency-cruiser.cjs', 'tsconfig.base.json', 'package.json']) {
    cpSync(join(root, file), join(folder, file));
  }
  for (const group of ['libs', 'services', 'tools']) {
    for (const project of readdirSync(join(root, group))) {
      const manifest = join(group, project, 'package.json');
      cpSync(join(root, manifest), join(folder, manifest));
      write(join(group, project, 'index.ts'), 'export const one = 1;\n');
    }
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
});

afterAll(() => rmSync(folder, { recursive: true }));

function write(path: string, text: string) {
  writeFileSync(join(folder, path), text);
}

/** Names of the rules that the tree breaks. */
function broken(): string[] {
  const args = ['--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'libs', 'services', 'tools'];
  let report: string;
  try {
    report = execFileSync(join(root, 'node_modules/.bin/depcruise'), args, { cwd: folder, encoding: 'utf8' });
  } catch (error) {
    report = (error as { stdout: string }).stdout;
  }
  const { summary } = JSON.parse(report) as { summary: { violations: { rule: { name: string } }[] } };
  return summary.violations.map(({ rule }) => rule.name);
}

test.each([
  ['pure-imports-pure', 'libs/model/bad.ts', "import '../store/index.ts';"],
  ['pure-has-no-effects', 'libs/training/bad.ts', "import 'node:fs';"],
  ['api-imports-nothing', 'libs/api/bad.ts', "import '../errors/index.ts';"],
  ['effects-meet-in-main (libs/store)', 'libs/store/bad.ts', "import '../database/index.ts';"],
  ['nobody-imports-a-service (services/export)', 'services/training/bad.ts', "import '../export/index.ts';"],
  ['libraries-import-no-tool', 'services/dataset/bad.ts', "import '../../tools/cli/index.ts';"],
  ['only-ort-imports-the-runtime', 'services/training/bad.ts', "import 'onnxruntime-node';"],
  ['through-the-front-door', 'services/training/bad.ts', "import '../../libs/model/inner.ts';"],
  ['testing-is-for-specs', 'libs/model/bad.ts', "import './testing.ts';"],
  ['no-circles', 'libs/model/bad.ts', "import './worse.ts';"],
  ['resolvable', 'libs/model/bad.ts', "import './nowhere.ts';"],
])('%s', (rule, path, text) => {
  write('libs/model/inner.ts', 'export const two = 2;\n');
  write('libs/model/worse.ts', "import './bad.ts';\n");
  write('libs/model/testing.ts', "import 'node:fs';\n");
  write(path, `${text}\n`);
  try {
    expect(broken()).toContain(rule);
  } finally {
    for (const file of [path, 'libs/model/worse.ts']) rmSync(join(folder, file));
  }
  expect(broken()).toEqual([]);
});
