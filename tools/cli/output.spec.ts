import { stripVTControlCharacters } from 'node:util';
import { Artifact, Run, RunOutputs, RunState } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { CommanderError } from 'commander';
import { expect, test } from 'vitest';
import { placeOf } from './commands/download.ts';
import { exitCodeOf } from './exit.ts';
import { resourceName, shortName, versionName } from './names.ts';
import { formatBytes, formatEnum, formatSeconds, formatTable } from './output.ts';
import { barText, formatClock, rateMeter } from './progress.ts';
import { modelUri } from './spec/sources.ts';
import { beside, chart, shrinkSeries } from './watch/chart.ts';
import { formatFigure } from './watch/figures.ts';
import { artifactDetails } from './watch/artifact.ts';
import { artifactTable } from './watch/summary.ts';
import { retryHint } from './watch/watch.ts';

test('exit codes', () => {
  expect(exitCodeOf(new PairwiseError('NOT_FOUND', ''))).toBe(1);
  expect(exitCodeOf(new PairwiseError('UNAVAILABLE', ''))).toBe(3);
  expect(exitCodeOf(new PairwiseError('CANCELLED', ''))).toBe(4);
  expect(exitCodeOf(new CommanderError(1, 'commander.unknownOption', ''))).toBe(2);
  expect(exitCodeOf(new CommanderError(0, 'commander.helpDisplayed', ''))).toBe(0);
  expect(exitCodeOf(new TypeError())).toBe(1);
});

test('names that users type are expanded', () => {
  const project = 'projects/default';
  expect(resourceName('runs', 'run-1', project)).toBe('projects/default/runs/run-1');
  expect(resourceName('runs', 'projects/p/runs/x', project)).toBe('projects/p/runs/x');
  expect(() => resourceName('runs', 'projects/p/models/x', project)).toThrow(/is not a valid run name/);
  expect(() => resourceName('datasets', '../x', project)).toThrow(CommanderError);
  expect(versionName('concise/2', project)).toBe('projects/default/datasets/concise/versions/2');
  expect(versionName('concise/versions/2', project)).toBe('projects/default/datasets/concise/versions/2');
  expect(versionName('projects/p/datasets/d/versions/1', project)).toBe('projects/p/datasets/d/versions/1');
  expect(versionName('concise', project)).toBeUndefined();
  expect(shortName('projects/default/datasets/concise/versions/2', project)).toBe('concise/2');
  expect(shortName('projects/other/runs/x', project)).toBe('projects/other/runs/x');
});

test('model paths become URIs', () => {
  expect(modelUri('models/a b', '/data')).toBe('file:///data/models/a%20b');
  expect(modelUri('/abs', '/data')).toBe('file:///abs');
  expect(modelUri('hf://a/b@main', '/data')).toBe('hf://a/b@main');
  expect(modelUri('file:///x', '/data')).toBe('file:///x');
});

test('formatted numbers', () => {
  expect([0, 999, 1000, 1_450_000, 999_600, 5e12].map(formatBytes)).toEqual([
    '0 B',
    '999 B',
    '1.0 kB',
    '1.4 MB',
    '1.0 MB',
    '5.0 TB',
  ]);
  expect([3.4, 65, 3725].map(formatSeconds)).toEqual(['3 s', '1 min 05 s', '1 h 02 min']);
  expect([0.693147, 0, 1.5e-5, 12.34567, -250.06].map(formatFigure)).toEqual([
    '0.6931',
    '0.0000',
    '1.50e-5',
    '12.346',
    '-250.1',
  ]);
  expect(formatEnum(RunState, RunState.SUCCEEDED)).toBe('succeeded');
  expect(formatEnum(RunState, 99 as RunState)).toBe('99');
  expect([0, 62, 3723].map(formatClock)).toEqual(['0:00', '1:02', '1:02:03']);
});

test('a retry continues from a checkpoint only where there can be one', () => {
  expect(retryHint(Run.create({}), 'one')).toBe("'pairwise runs retry one' tries it again");
  const outputs = RunOutputs.create({ training: 'projects/default/trainings/one' });
  expect(retryHint(Run.create({ outputs }), 'one')).toMatch(/ continues from its last checkpoint$/);
});

test('a table has no borders, and numbers are right-aligned', () => {
  const text = stripVTControlCharacters(
    formatTable(
      ['NAME', 'PAIRS'],
      [
        ['a', '1,000'],
        ['long', '7'],
      ],
    ),
  );
  expect(text).toBe('NAME  PAIRS\na     1,000\nlong      7');
});

test('bars and rates', () => {
  expect(barText(0.5, 4)).toBe('██░░');
  expect(barText(0.3, 4)).toBe('█▎░░');
  expect(barText(2, 4)).toBe('████');
  const rates = rateMeter();
  expect(rates.add(100, 0)).toBeUndefined();
  expect(rates.add(300, 2000)).toBe(100);
});

test('a chart spans the range from the smallest to the largest value', () => {
  expect(shrinkSeries([1, 3, 5, 7], 2)).toEqual([2, 6]);
  expect(chart({ title: 'loss', values: [0.8, 0.4, 0] }, 10, 2)).toEqual(['       loss', '0.8000 ┤█▁ ', '0.0000 ┤██▁']);
  expect(chart({ title: 'flat', values: [1, 1] }, 10, 2)[2]).toBe('1.0000 ┤██');
  expect(beside(['a', 'bb'], ['c', 'd'])).toEqual(['a    c', 'bb   d']);
});

test('no file of an artifact is written outside its folder', () => {
  expect(placeOf('/out/a', 'sub/model.gguf')).toBe('/out/a/sub/model.gguf');
  for (const path of ['../x', '/etc/passwd', 'a/../../x', '..', '', '.', 'a\0b']) {
    expect(() => placeOf('/out/a', path)).toThrow(PairwiseError);
  }
});

test('the answers of an artifact are shown without control characters', () => {
  const shown = artifactDetails(
    Artifact.fromPartial({
      name: 'projects/p/exports/e/artifacts/a',
      files: [{ path: 'a.gguf', sizeBytes: 1500n, digest: 'sha256:0' }],
      samples: [{ prompt: 'Why?', base: ' So.\n', tuned: '\u001b[2J\u009b' }],
    }),
  );
  const lines = stripVTControlCharacters(shown).split('\n');
  expect(lines).toContain('a.gguf  1.5 kB  sha256:0');
  expect(lines.slice(-3)).toEqual(['prompt      "Why?"', 'base model  " So.\\n"', 'tuned       "\\u001b[2J\ufffd"']);
  const untrained = Artifact.fromPartial({ name: 'a', samples: [{ prompt: 'Why?', tuned: '' }] });
  expect(artifactDetails(untrained)).not.toContain('base model');
});

test('artifacts are shown with the figure that decides about them, and with their caveats', () => {
  const verification = { maxAbsLogpDiff: 0.3, meanAbsLogpDiff: 0.02, tolerance: 0.1 };
  const quantizationCost = {
    policy: { klDivergence: 0.004, top1Agreement: 0.975, meanAbsLogpDiff: 0.02, margin: 1.5, accuracy: 0.9 },
    base: { klDivergence: 0.005, top1Agreement: 0.97, meanAbsLogpDiff: 0.03, margin: -0.1, accuracy: 0.4 },
    margin: 1.6,
    accuracy: 1,
  };
  const artifact = (name: string, type: string, rest: object) =>
    Artifact.fromPartial({ name: `projects/p/exports/e/artifacts/${name}`, format: 'gguf', type, ...rest });
  const shown = artifactTable([
    artifact('small', 'Q8_0', {
      verification: { ...verification, quantizationCost },
      caveats: ['llama.cpp keeps the spaces around "<a>"'],
    }),
    artifact('half', 'F16', { verification: { ...verification, tolerance: 0.5 } }),
    artifact('adapter', 'F32', {}),
  ]);
  const lines = stripVTControlCharacters(shown).split('\n');
  expect(lines[1]).toContain('KL divergence 0.0040 of at most 0.1000 nats');
  expect(lines[2]).toContain('largest difference 0.3000 of at most 0.5000 nats');
  expect(lines[3]).not.toContain('nats');
  expect(lines.slice(-5).map((line) => line.split(/ {2,}/).filter(Boolean))).toEqual([
    ['QUANTISED', 'KL DIVERGENCE', 'TOP-1', 'MEAN DIFFERENCE', 'MARGIN', 'ACCURACY'],
    ['small', '0.0040', '97.5%', '0.0200', '1.5000 of 1.6000', '90.0% of 100.0%'],
    ['its base model', '0.0050', '97.0%', '0.0300', '-0.1000', '40.0%'],
    [],
    [expect.stringContaining('! small')],
  ]);
  expect(lines.at(-1)).toBe('! small: llama.cpp keeps the spaces around "<a>"');
});
