import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { type KubernetesObject, ofKind, workloads } from './objects.ts';
import { overlays, render, renderOverlay } from './render.ts';
import { schemaProblems } from './schema.ts';

// What an operator copies from docs/operating.md works.

const root = join(import.meta.dirname, '../../..');
const guide = readFileSync(join(root, 'docs/operating.md'), 'utf8').replace(/^ {3}/gm, '');

test('the kustomization of the guide replaces every image, address and host', async () => {
  const [, text = ''] = /```yaml\n(# site\/kustomization\.yaml[^`]*)```/.exec(guide) ?? [];
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-site-'));
  try {
    const site = join(folder, 'site');
    mkdirSync(site);
    const digest = `sha256:${'1'.repeat(64)}`;
    const made = text.replaceAll('sha256:...', digest).replace('../deploy', relative(site, join(root, 'deploy')));
    writeFileSync(join(site, 'kustomization.yaml'), made);
    const objects = render(site);
    const images = workloads(objects).flatMap(({ containers }) => containers.map(({ image = '' }) => image));
    const ours = images.filter((image) => image.includes('pairwise/'));
    expect(
      ours.filter((image) => !image.startsWith('registry.example.com/pairwise/') || !image.endsWith(digest)),
    ).toEqual([]);
    expect(ours).toHaveLength(12);
    expect(
      ofKind(objects, 'ConfigMap').find(({ metadata }) => metadata.name.startsWith('pairwise-blobs'))?.data,
    ).toEqual({
      PAIRWISE_BLOB_URL: 's3://my-bucket/pairwise',
      AWS_REGION: 'eu-central-1',
      AWS_ENDPOINT_URL_S3: 'https://s3.storage.example.com',
    });
    const whole = JSON.stringify(objects);
    expect(whole).not.toMatch(/0{64}|pairwise\.example\.com|"gatewayClassName":"pairwise"/);
    expect(await schemaProblems(objects)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Names of all secrets to which an object refers, at any depth. */
function secretsOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value as Record<string, unknown>).flatMap(([key, inner]) => {
    const { name, secretName } = (inner ?? {}) as { name?: string; secretName?: string };
    if (['secretRef', 'secretKeyRef'].includes(key)) return [name!];
    if (key === 'secret') return [secretName!];
    if (['secretTargetRef', 'certificateRefs'].includes(key))
      return (inner as { name: string }[]).map((one) => one.name);
    return secretsOf(inner);
  });
}

test.each(overlays)('%s: every secret comes from cert-manager or from a command in the guide', (overlay) => {
  const objects = renderOverlay(overlay);
  const certificates = objects
    .filter(({ kind }) => kind === 'Certificate')
    .map((one) => (one as KubernetesObject & { spec: { secretName: string } }).spec.secretName);
  const made = [...guide.matchAll(/create secret (?:generic|tls) ([\w-]+)/g)].map(([, name]) => name!);
  const asked = new Set(secretsOf(objects));
  expect(asked.size).toBeGreaterThan(8);
  expect([...asked].filter((name) => !certificates.includes(name) && !made.includes(name))).toEqual([]);
});
