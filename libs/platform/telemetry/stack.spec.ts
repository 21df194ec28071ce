import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parser } from '@prometheus-io/lezer-promql';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type MetricName, registry } from './index.ts';

// Compares deploy/telemetry with the registry: dashboards and alerts must query only what we export.

const root = resolve(import.meta.dirname, '../../..');
const folder = join(root, 'deploy/telemetry');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const readYaml = (name: string): unknown => parse(readFileSync(join(folder, name), 'utf8'));

const underscored = (name: string) => name.replaceAll(/[.-]/g, '_');

/**
 * The series of a metric in Prometheus, named as the collector's exporter does: dots become underscores, the unit is
 * spelled out at the end (a unit in braces is left out), counters end in `_total`, and histograms have three series.
 */
function seriesOf(name: MetricName): string[] {
  const { kind, unit } = registry[name];
  const suffix = { s: '_seconds', By: '_bytes', '1': '_ratio' }[unit] ?? '';
  const base = underscored(name) + suffix;
  if (kind === 'counter') return [`${base}_total`];
  if (kind === 'histogram') return ['bucket', 'sum', 'count'].map((part) => `${base}_${part}`);
  return [base];
}

const names = Object.keys(registry) as MetricName[];
const known = new Map(names.flatMap((name) => seriesOf(name).map((series) => [series, name] as const)));
const labels = new Set([
  ...names.flatMap((name) => registry[name].attributes.map(underscored)),
  // The process and its replica; the bound of a bucket.
  ...['job', 'instance', 'le'],
]);

/** The series and labels in an expression. Throws if it is not valid PromQL. */
function namedIn(expression: string): { series: string[]; labels: string[] } {
  const text = expression.replaceAll('$__rate_interval', '5m');
  const found = { series: [] as string[], labels: [] as string[] };
  parser.parse(text).iterate({
    enter: ({ type, from, to, node }) => {
      if (type.isError) throw new Error(`not valid PromQL at ${from}: ${text}`);
      if (type.name === 'Identifier' && node.parent?.name === 'VectorSelector') found.series.push(text.slice(from, to));
      if (type.name === 'LabelName') found.labels.push(text.slice(from, to));
    },
  });
  return found;
}

function expectKnown(expression: string): void {
  const named = namedIn(expression);
  expect(named.series).not.toEqual([]);
  for (const series of named.series) expect([...known.keys()], expression).toContain(series);
  for (const label of named.labels) expect([...labels], expression).toContain(label);
}

test('unknown series, unknown labels and invalid PromQL are detected', () => {
  expectKnown('sum by (job) (rate(pairwise_tokens_total[5m]))');
  expect(() => expectKnown('pairwise_tokens')).toThrow('pairwise_tokens');
  expect(() => expectKnown('pairwise_runs{state="FAILED"}')).toThrow('state');
  expect(() => expectKnown('sum by (pairwise_runs')).toThrow('not valid PromQL');
});

interface Rule {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; description: string; runbook: string };
}

describe('alert rules', () => {
  const { groups } = readYaml('alerts.yaml') as { groups: { rules: Rule[] }[] };
  const rules = groups.flatMap((group) => group.rules);
  const guide = read('docs/alerts.md');

  test.each(rules.map((rule) => [rule.alert, rule] as const))('%s', (alert, { expr, labels: own, annotations }) => {
    expectKnown(expr);
    expect(['warning', 'critical']).toContain(own.severity);
    expect(annotations.summary).not.toBe('');
    expect(annotations.description).not.toBe('');
    expect(annotations.runbook).toBe(`docs/alerts.md#${alert.toLowerCase()}`);
    expect(guide).toContain(`\n## ${alert}\n`);
  });

  test('the guide has no sections for unknown alerts', () => {
    const sections = [...guide.matchAll(/^## (\w+)$/gm)].map(([, alert]) => alert);
    expect(sections.sort()).toEqual(rules.map(({ alert }) => alert).sort());
  });
});

interface Panel {
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource: { type: string; uid: string };
  targets: { expr: string }[];
}

const dashboards = readdirSync(join(folder, 'grafana/dashboards'));
const sources = readYaml('grafana/provisioning/datasources/pairwise.yaml') as { datasources: { uid: string }[] };

test.each(dashboards)('dashboard %s', (name) => {
  const board = JSON.parse(read(`deploy/telemetry/grafana/dashboards/${name}`)) as {
    panels: Panel[];
    templating?: { list: { query: string }[] };
  };
  for (const { title, datasource, targets, gridPos } of board.panels) {
    expect(
      sources.datasources.map(({ uid }) => uid),
      title,
    ).toContain(datasource.uid);
    expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
    if (datasource.type === 'prometheus') for (const { expr } of targets) expectKnown(expr);
  }
  for (const { query } of board.templating?.list ?? []) {
    const [, series, label] = /^label_values\((\w+), (\w+)\)$/.exec(query)!;
    expectKnown(`${series}{${label}!=""}`);
  }
});

test('every metric is on a dashboard', () => {
  const texts = dashboards.map((name) => read(`deploy/telemetry/grafana/dashboards/${name}`)).join('\n');
  for (const name of names)
    expect(
      seriesOf(name).some((series) => texts.includes(series)),
      name,
    ).toBe(true);
});

test('Prometheus loads our rules and scrapes the port that the collector opens', () => {
  const { rule_files, scrape_configs } = readYaml('prometheus.yml') as {
    rule_files: string[];
    scrape_configs: { static_configs: { targets: string[] }[] }[];
  };
  expect(rule_files).toEqual(['alerts.yaml']);
  const { exporters } = readYaml('collector.yaml') as { exporters: { prometheus: { endpoint: string } } };
  const [target] = scrape_configs.flatMap(({ static_configs }) => static_configs.flatMap(({ targets }) => targets));
  expect(target?.split(':')[1]).toBe(exporters.prometheus.endpoint.split(':')[1]);
});

test('every address in the stack is a service of Compose', () => {
  const { services } = parse(read('deploy/compose.yaml')) as { services: object };
  const files = ['collector.yaml', 'prometheus.yml', 'grafana/provisioning/datasources/pairwise.yaml'];
  const hosts = files.flatMap((file) =>
    [...readFileSync(join(folder, file), 'utf8').matchAll(/\b([a-z][a-z-]*):\d{4,5}\b/g)].map(([, host]) => host!),
  );
  expect(hosts).toContain('otel-collector');
  for (const host of hosts) expect(Object.keys(services)).toContain(host);
});
