import { execFileSync } from 'node:child_process';
import { cpSync, globSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

// Runs the rules of .dependency-cruiser.cjs on a tree of the same projects, first clean, then with one violation of each rule.

const root = resolve(import.meta.dirname, '../../..');

/** Rules, each with a file that breaks it. */
const offences: [rule: string, path: string, text: string][] = [
  ['pure-imports-pure', 'libs/engine/model/impure.ts', "import '../../platform/store/index.ts';"],
  ['pure-has-no-effects', 'libs/engine/training/effect.ts', "import 'node:fs';"],
  ['api-imports-nothing', 'libs/platform/api/more.ts', "import '../errors/index.ts';"],
  ['effects-meet-in-main (libs/platform/store)', 'libs/platform/store/meeting.ts', "import '../database/index.ts';"],
  ['nobody-imports-a-service (services/export)', 'services/training/peer.ts', "import '../export/index.ts';"],
  ['libraries-import-no-tool', 'services/dataset/tool.ts', "import '../../tools/cli/index.ts';"],
  ['only-ort-imports-the-runtime', 'services/training/runtime.ts', "import 'onnxruntime-node';"],
  ['only-generated-code-writes-protobuf', 'libs/engine/onnx/bytes.ts', "import '@bufbuild/protobuf/wire';"],
  ['through-the-front-door', 'services/training/backDoor.ts', "import '../../libs/engine/model/inner.ts';"],
  ['testing-is-for-specs', 'libs/engine/model/tested.ts', "import './testing.ts';"],
  ['testing-is-for-specs', 'services/export/tested.ts', "import '../../libs/testing/index.ts';"],
  ['by-package', 'services/training/sideways.ts', "import '../../libs/engine/model/index.ts';"],
  ['no-circles', 'libs/engine/model/circle.ts', "import './half.ts';"],
  ['resolvable', 'libs/engine/model/lost.ts', "import './nowhere.ts';"],
];

let folder: string;
let [before, after] = [[], []] as [Violation[], Violation[]];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'boundaries-'));
  for (const file of ['.dependency-cruiser.cjs', 'tsconfig.base.json', 'package.json']) {
    cpSync(join(root, file), join(folder, file));
  }
  const manifests = globSync('{libs,services,tools}/**/package.json', { cwd: root, exclude: ['**/node_modules'] });
  for (const manifest of manifests) {
    cpSync(join(root, manifest), join(folder, manifest));
    write(join(dirname(manifest), 'index.ts'), 'export const one = 1;');
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  write('libs/engine/model/inner.ts', 'export const two = 2;');
  write('libs/engine/model/testing.ts', "import 'node:fs';");
  before = violations();
  for (const [, path, text] of offences) write(path, text);
  write('libs/engine/model/half.ts', "import './circle.ts';");
  after = violations();
});

afterAll(() => rmSync(folder, { recursive: true }));

function write(path: string, text: string) {
  writeFileSync(join(folder, path), `${text}\n`);
}

interface Violation {
  rule: { name: string };
  /** The file that breaks it. */
  from: string;
}

function violations(): Violation[] {
  const args = ['--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'libs', 'services', 'tools'];
  let report: string;
  try {
    report = execFileSync(join(root, 'node_modules/.bin/depcruise'), args, { cwd: folder, encoding: 'utf8' });
  } catch (error) {
    report = (error as { stdout: string }).stdout;
  }
  return (JSON.parse(report) as { summary: { violations: Violation[] } }).summary.violations;
}

test('a clean tree breaks no rule', () => {
  expect(before).toEqual([]);
});

test.each(offences)('%s', (name, path) => {
  expect(after).toContainEqual(
    expect.objectContaining({ from: path, rule: expect.objectContaining({ name }) as object }),
  );
});
