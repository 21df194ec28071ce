import { expect, test } from 'vitest';
import type { KubernetesObject } from './objects.ts';
import { overlays, renderOverlay } from './render.ts';
import { schemaProblems } from './schema.ts';

test.each(overlays)('%s: every object is valid, without unknown keys', async (overlay) => {
  const objects = renderOverlay(overlay);
  expect(objects.length).toBeGreaterThan(50);
  expect(await schemaProblems(objects)).toEqual([]);
});

/** Changes one field of an object, by a path of keys. */
function changed(object: KubernetesObject, path: (string | number)[], value: unknown): KubernetesObject {
  const copy = structuredClone(object);
  let at = copy as unknown as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, unknown>;
  at[path.at(-1)!] = value;
  return copy;
}

test('unknown keys, missing keys, and values of a wrong type or range are refused, at any depth and in every API', async () => {
  const objects = [...renderOverlay('gpu-fleet'), ...renderOverlay('dev-cpu')];
  const one = (kind: string) =>
    objects.find((object) => object.kind === kind && object.metadata.name !== 'pairwise-collector')!;
  const container = ['spec', 'template', 'spec', 'containers', 0];
  const broken: [KubernetesObject, RegExp][] = [
    [changed(one('Deployment'), [...container, 'securityContext', 'runAsNonroot'], true), /runAsNonroot/],
    [changed(one('Deployment'), [...container, 'livenessProbe', 'grpc', 'port'], 'grpc'), /string.*number/],
    [
      changed(one('PodDisruptionBudget'), ['spec', 'unhealthyPodEvictionPolicy'], 'Always'),
      /unhealthyPodEvictionPolicy/,
    ],
    [changed(one('NetworkPolicy'), ['spec', 'podSelectors'], {}), /podSelectors/],
    [changed(one('ScaledJob'), ['spec', 'rolout'], { strategy: 'gradual' }), /rolout/],
    [changed(one('ScaledObject'), ['spec', 'scaleTargetRef'], undefined), /scaleTargetRef/],
    [changed(one('Certificate'), ['spec', 'privateKey', 'rotationPolicy'], 'Sometimes'), /rotationPolicy|Sometimes/],
    [changed(one('GRPCRoute'), ['spec', 'rules', 0, 'timeouts'], { request: '0s' }), /timeouts/],
    [changed(one('BackendTLSPolicy'), ['spec', 'validation', 'hostname'], 'not a host'), /hostname/],
    [changed(one('Service'), ['kind'], 'Servise'), /Servise/],
  ];
  const problems = await Promise.all(broken.map(([object]) => schemaProblems([object])));
  problems.forEach((found, index) => expect(found.join('\n')).toMatch(broken[index]![1]));
});
