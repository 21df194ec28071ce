import { beforeAll, expect, test } from 'vitest';
import { type Exception, exceptions } from './exceptions.ts';
import { type Kinds, type KubernetesObject, type ObjectOf, type Workload, ofKind, workloads } from './objects.ts';
import { overlays, renderOverlay } from './render.ts';
import { judge, manifestRules } from './rules.ts';

const rendered = new Map<string, KubernetesObject[]>();
beforeAll(() => {
  for (const overlay of overlays) rendered.set(overlay, renderOverlay(overlay));
});

test.each(overlays)('%s: the rules find only the listed exceptions', (overlay) => {
  expect(judge(overlay, rendered.get(overlay)!).findings).toEqual([]);
});

test('every exception is needed', () => {
  const needed = new Set(overlays.flatMap((overlay) => [...judge(overlay, rendered.get(overlay)!).excepted]));
  expect(exceptions.filter((exception: Exception) => !needed.has(exception))).toEqual([]);
});

/** Changes a workload of the fleet overlay, where the training worker is a ScaledJob. */
const pod = (name: string, change: (workload: Workload) => void) => (objects: KubernetesObject[]) =>
  change(workloads(objects).find((one) => one.name === name)!);
const container = (change: (container: Workload['containers'][number]) => void) =>
  pod('pairwise-training-worker', ({ containers }) => change(containers[0]!));
const security = (change: object) => container((one) => Object.assign(one.securityContext!, change));
const first =
  <Kind extends keyof Kinds>(kind: Kind, change: (object: ObjectOf<Kind>) => void) =>
  (objects: KubernetesObject[]) =>
    change(ofKind(objects, kind)[0]!);
const without = (kind: string, name: RegExp) => (objects: KubernetesObject[]) => {
  const at = objects.findIndex((one) => one.kind === kind && name.test(one.metadata.name));
  objects.splice(at, 1);
};
const grown =
  (kind: string, apiVersion = 'v1') =>
  (objects: KubernetesObject[]) => {
    objects.push({ apiVersion, kind, metadata: { name: 'pairwise-more' } });
  };

/** For every rule, a change that it must notice. */
const broken: Record<keyof typeof manifestRules, (objects: KubernetesObject[]) => unknown> = {
  'run-as-non-root': pod('pairwise-training-worker', ({ pod: { securityContext }, containers }) => {
    delete securityContext!.runAsNonRoot;
    delete containers[0]!.securityContext!.runAsNonRoot;
  }),
  'high-user-and-group': security({ runAsUser: 1000 }),
  'read-only-root': security({ readOnlyRootFilesystem: undefined }),
  'no-privilege-escalation': security({ allowPrivilegeEscalation: true }),
  'drop-capabilities': security({ capabilities: { drop: ['ALL'], add: ['NET_RAW'] } }),
  'seccomp-profile': security({ seccompProfile: { type: 'Unconfined' } }),
  'no-proc-mount': security({ procMount: 'Unmasked' }),
  'no-host': pod('pairwise-export', (one) => (one.pod.hostPID = true)),
  'no-host-path': pod('pairwise-export', (one) => one.pod.volumes!.push({ name: 'node', hostPath: { path: '/' } })),
  'no-host-port': container((one) => (one.ports![0]!.hostPort = 7400)),
  'no-ssh': container((one) => one.ports!.push({ containerPort: 22 })),
  'no-unsafe-sysctls': pod('pairwise-export', (one) => {
    one.pod.securityContext!.sysctls = [{ name: 'kernel.msgmax', value: '1' }];
  }),
  'cpu-and-memory': container((one) => delete one.resources!.limits!['memory']),
  'ephemeral-storage': pod('pairwise-export', ({ pod: { volumes } }) => {
    volumes!.find(({ name }) => name === 'cache')!.emptyDir!.sizeLimit = '100Gi';
  }),
  'probes-differ': container((one) => delete one.livenessProbe!.grpc!.service),
  'probe-ports': container((one) => (one.livenessProbe!.grpc!.port = 7401)),
  'image-digest': container((one) => (one.image = 'pairwise/training:0.1.0')),
  'image-tag': container((one) => (one.image = 'pairwise/training')),
  'pull-always': container((one) => (one.imagePullPolicy = 'IfNotPresent')),
  'no-secret-in-env': container((one) => one.env!.push({ name: 'HF_TOKEN', value: 'hf_x' })),
  'no-duplicate-env': container((one) => one.env!.push(one.env![0]!)),
  'no-account-token': pod('pairwise-export', (one) => delete one.pod.automountServiceAccountToken),
  'no-deprecated-account': pod('pairwise-export', (one) => (one.pod.serviceAccount = 'pairwise-export')),
  'no-service-links': pod('pairwise-export', (one) => delete one.pod.enableServiceLinks),
  'priority-class': pod('pairwise-export', (one) => delete one.pod.priorityClassName),
  'topology-spread': pod('pairwise-export', (one) => (one.pod.topologySpreadConstraints = [])),
  'anti-affinity': pod('pairwise-export', (one) => delete one.pod.affinity),
  'service-selects-pods': first('Service', ({ spec }) => (spec!.selector = { 'app.kubernetes.io/name': 'pear' })),
  'service-ports': first('Service', ({ spec }) => (spec!.ports![0]!.targetPort = 'http')),
  'service-inside': first('Service', ({ spec }) => (spec!.type = 'NodePort')),
  'selector-matches-template': first('Deployment', ({ spec }) => (spec!.selector.matchLabels!['x'] = 'y')),
  'stateful-set-service': without('Service', /postgres/),
  'rolling-update': first('Deployment', ({ spec }) => (spec!.strategy = { type: 'Recreate' })),
  'several-replicas': pod('pairwise-export', ({ object }) => {
    (object as ObjectOf<'Deployment'>).spec!.replicas = 1;
  }),
  'no-replicas-under-autoscaler': pod('pairwise-reference-worker', ({ object }) => {
    (object as ObjectOf<'Deployment'>).spec!.replicas = 2;
  }),
  'scale-target': first('ScaledObject', ({ spec }) => (spec.scaleTargetRef.name = 'pairwise-worker')),
  'disruption-budget': without('PodDisruptionBudget', /export/),
  'budget-lets-go': first('PodDisruptionBudget', ({ spec }) => delete spec!.unhealthyPodEvictionPolicy),
  'budget-selects-pods': without('Deployment', /export/),
  'policy-selects-pods': without('Deployment', /export/),
  'network-policy': without('NetworkPolicy', /export/),
  'deny-all': without('NetworkPolicy', /deny-all/),
  'existing-account': without('ServiceAccount', /export/),
  'account-of-its-own': pod('pairwise-export', (one) => (one.pod.serviceAccountName = 'pairwise-training')),
  'account-without-token': first('ServiceAccount', (one) => delete one.automountServiceAccountToken),
  'no-roles': grown('ClusterRoleBinding'),
  'job-ends': first('ScaledJob', ({ spec }) => delete spec!.jobTargetRef.ttlSecondsAfterFinished),
  'instance-label': pod(
    'pairwise-export',
    ({ object }) => delete object.metadata.labels!['app.kubernetes.io/instance'],
  ),
  'label-values': first('Service', ({ metadata }) => (metadata.labels = { x: '-' })),
  'stable-version': grown('GRPCRoute', 'gateway.networking.k8s.io/v1alpha2'),
  'no-secrets': grown('Secret'),
  'no-secret-in-config': first('ConfigMap', (one) => (one.data!['URL'] = 'postgres://pairwise:x@postgres/pairwise')),
};

test.each(Object.entries(broken))('%s notices a violation', (rule, change) => {
  const overlay = rule === 'stateful-set-service' ? 'dev-cpu' : 'gpu-fleet';
  const objects = structuredClone(rendered.get(overlay)!);
  change(objects);
  expect(judge(overlay, objects).findings.map((finding) => finding.rule)).toContain(rule);
});

test('every rule is tested', () => {
  expect(Object.keys(broken).sort()).toEqual(Object.keys(manifestRules).sort());
});
