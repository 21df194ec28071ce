import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { anchor } from './markdown.ts';

// Not cached by Nx, because it depends on the whole repository.

const root = resolve(import.meta.dirname, '../..');
const documents = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.md'], {
  cwd: root,
  encoding: 'utf8',
})
  .trim()
  .split('\n');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const withoutCode = (text: string) => text.replaceAll(/^ *```[^]*?^ *```$/gm, '');

function anchorsOf(text: string): string[] {
  return [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchor(heading!));
}

test.each(documents)('%s: every link leads to an existing file and heading', (document) => {
  const links = [...withoutCode(read(document)).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)];
  const broken = links.filter(([, path = '', heading]) => {
    const target = path === '' ? document : join(dirname(document), path);
    return !existsSync(join(root, target)) || (heading !== undefined && !anchorsOf(read(target)).includes(heading));
  });
  expect(broken.map(([link]) => link)).toEqual([]);
});

test.each(documents)('%s: every path and npm script in it exists', (document) => {
  const text = read(document);
  const paths = [...withoutCode(text).matchAll(/`((?:libs|services|tools|docs|deploy|proto|examples)\/[\w./-]+)`/g)];
  const missing = paths.map(([, path]) => path!).filter((path) => !existsSync(join(root, path)));
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const unknown = [...text.matchAll(/npm run (?:--silent )?([\w:]+)/g)].filter(([, name]) => !(name! in scripts));
  expect([...missing, ...unknown.map(([command]) => command)]).toEqual([]);
});

test('no two headings of a generated reference have the same anchor', () => {
  for (const document of ['docs/api.md', 'docs/cli.md']) {
    const anchors = anchorsOf(read(document));
    expect(new Set(anchors).size, document).toBe(anchors.length);
  }
});
