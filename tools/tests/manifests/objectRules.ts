import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { type KubernetesObject, type Workload, matchesSelector, ofKind, workloads } from './objects.ts';
import type { Rules } from './podRules.ts';

const nameOf = ({ kind, metadata }: KubernetesObject) => `${kind}/${metadata.name}`;
const isService = ({ kind }: Workload) => kind === 'Deployment' || kind === 'StatefulSet';

/** A finding for each object whose selector selects no workload's pods. */
function selectingNothing<One extends KubernetesObject>(
  selectors: readonly One[],
  objects: readonly KubernetesObject[],
  selectorOf: (one: One) => { matchLabels?: Record<string, string> } | undefined,
) {
  const all = workloads(objects);
  return selectors
    .filter((one) => !all.some(({ labels }) => matchesSelector(selectorOf(one), labels)))
    .map((one) => ({ object: nameOf(one), message: 'selects no pod' }));
}

/** Whether a policy restricts both directions and allows at least one connection in each. */
const restrictsBothWays = ({ spec }: INetworkPolicy) =>
  (['Ingress', 'Egress'] as const).every((type) => spec?.policyTypes?.includes(type)) &&
  Boolean(spec?.ingress?.length && spec.egress?.length);

const rolesThatOpen = ['Role', 'ClusterRole', 'RoleBinding', 'ClusterRoleBinding'];

/** The default rules of kube-linter, kube-score and Polaris about how objects relate to each other. */
export const objectRules: Rules = {
  'service-selects-pods': (objects) =>
    selectingNothing(ofKind(objects, 'Service'), objects, ({ spec }) => ({ matchLabels: spec?.selector ?? {} })),
  'service-ports': (objects) =>
    ofKind(objects, 'Service').flatMap((service) => {
      const served = workloads(objects).filter(({ labels }) =>
        matchesSelector({ matchLabels: service.spec!.selector! }, labels),
      );
      const open = served.flatMap(({ containers }) => containers.flatMap(({ ports = [] }) => ports));
      return (service.spec!.ports ?? [])
        .filter(({ targetPort }) => !open.some(({ name, containerPort }) => [name, containerPort].includes(targetPort)))
        .map(({ targetPort }) => ({
          object: nameOf(service),
          message: `targets port ${targetPort}, which no pod has`,
        }));
    }),
  'service-inside': (objects) =>
    ofKind(objects, 'Service')
      .filter(({ spec }) => (spec?.type ?? 'ClusterIP') !== 'ClusterIP')
      .map((service) => ({ object: nameOf(service), message: 'is reachable from outside' })),
  'selector-matches-template': (objects) =>
    [...ofKind(objects, 'Deployment'), ...ofKind(objects, 'StatefulSet')]
      .filter(({ spec }) => !matchesSelector(spec!.selector, spec!.template.metadata?.labels ?? {}))
      .map((one) => ({ object: nameOf(one), message: 'its selector does not match its own pods' })),
  'stateful-set-service': (objects) =>
    ofKind(objects, 'StatefulSet')
      .filter(
        ({ spec }) =>
          !ofKind(objects, 'Service').some(
            (service) => service.metadata.name === spec?.serviceName && service.spec?.clusterIP === 'None',
          ),
      )
      .map((one) => ({ object: nameOf(one), message: 'names no headless Service' })),
  'rolling-update': (objects) =>
    ofKind(objects, 'Deployment')
      .filter(({ spec }) => (spec?.strategy?.type ?? 'RollingUpdate') !== 'RollingUpdate')
      .map((one) => ({ object: nameOf(one), message: 'is not updated pod by pod' })),
  'several-replicas': (objects) =>
    workloads(objects)
      .filter((one) => one.kind === 'Deployment' && (one.replicas ?? 1) < 2)
      .map((one) => ({ object: nameOf(one.object), message: `has ${one.replicas ?? 1} replica` })),
  'no-replicas-under-autoscaler': (objects) =>
    ofKind(objects, 'ScaledObject').flatMap(({ spec }) =>
      ofKind(objects, 'Deployment')
        .filter(({ metadata, spec: own }) => metadata.name === spec.scaleTargetRef.name && own?.replicas !== undefined)
        .map((one) => ({ object: nameOf(one), message: 'sets replicas although an autoscaler does' })),
    ),
  'scale-target': (objects) =>
    ofKind(objects, 'ScaledObject')
      .filter(
        ({ spec }) => !ofKind(objects, 'Deployment').some(({ metadata }) => metadata.name === spec.scaleTargetRef.name),
      )
      .map((one) => ({ object: nameOf(one), message: 'scales nothing' })),
  'disruption-budget': (objects) =>
    workloads(objects)
      .filter(isService)
      .filter(
        ({ labels }) =>
          !ofKind(objects, 'PodDisruptionBudget').some(({ spec }) => matchesSelector(spec?.selector, labels)),
      )
      .map(({ object }) => ({ object: nameOf(object), message: 'has no PodDisruptionBudget' })),
  'budget-lets-go': (objects) =>
    ofKind(objects, 'PodDisruptionBudget')
      .filter(
        ({ spec }) =>
          spec?.minAvailable !== undefined ||
          !Number(spec?.maxUnavailable) ||
          spec?.unhealthyPodEvictionPolicy !== 'AlwaysAllow',
      )
      .map((one) => ({ object: nameOf(one), message: 'keeps nodes from being drained' })),
  'budget-selects-pods': (objects) =>
    selectingNothing(ofKind(objects, 'PodDisruptionBudget'), objects, ({ spec }) => spec?.selector),
  'policy-selects-pods': (objects) =>
    selectingNothing(ofKind(objects, 'NetworkPolicy'), objects, ({ spec }) => spec?.podSelector),
  'network-policy': (objects) =>
    workloads(objects)
      .filter(
        ({ labels }) =>
          !ofKind(objects, 'NetworkPolicy').some(
            (policy) =>
              policy.spec?.podSelector?.matchLabels &&
              matchesSelector(policy.spec.podSelector, labels) &&
              restrictsBothWays(policy),
          ),
      )
      .map(({ object }) => ({
        object: nameOf(object),
        message: 'has no policy that allows connections in both directions',
      })),
  'deny-all': (objects) =>
    ofKind(objects, 'NetworkPolicy').some(
      ({ spec }) =>
        Object.keys(spec?.podSelector ?? { x: 1 }).length === 0 &&
        !spec?.ingress &&
        !spec?.egress &&
        spec?.policyTypes?.length === 2,
    )
      ? []
      : [{ object: 'NetworkPolicy', message: 'no policy denies everything by default' }],
  'existing-account': (objects) =>
    workloads(objects)
      .filter(
        ({ pod }) =>
          !ofKind(objects, 'ServiceAccount').some(({ metadata }) => metadata.name === pod.serviceAccountName),
      )
      .map(({ object, pod }) => ({
        object: nameOf(object),
        message: `its account ${pod.serviceAccountName} does not exist`,
      })),
  'account-of-its-own': (objects) => {
    const names = workloads(objects).map(({ pod }) => pod.serviceAccountName);
    return workloads(objects)
      .filter(({ pod }) => names.filter((name) => name === pod.serviceAccountName).length > 1)
      .map(({ object }) => ({ object: nameOf(object), message: 'shares its account with another workload' }));
  },
  'account-without-token': (objects) =>
    ofKind(objects, 'ServiceAccount')
      .filter(({ automountServiceAccountToken }) => automountServiceAccountToken !== false)
      .map((one) => ({ object: nameOf(one), message: 'mounts its token into pods' })),
  'no-roles': (objects) =>
    objects
      .filter(({ kind }) => rolesThatOpen.includes(kind))
      .map((one) => ({ object: nameOf(one), message: 'grants rights on the cluster' })),
  'job-ends': (objects) =>
    [
      ...ofKind(objects, 'Job').map((one) => ({ one, spec: one.spec! })),
      ...ofKind(objects, 'ScaledJob').map((one) => ({ one, spec: one.spec!.jobTargetRef })),
    ]
      .filter(
        ({ spec }) =>
          spec.ttlSecondsAfterFinished === undefined ||
          !['Never', 'OnFailure'].includes(spec.template.spec?.restartPolicy ?? 'Always'),
      )
      .map(({ one }) => ({ object: nameOf(one), message: 'is never removed, or its pods restart forever' })),
  'instance-label': (objects) =>
    workloads(objects)
      .filter(
        ({ object, name, kind }) =>
          kind !== 'ScaledJob' && object.metadata.labels?.['app.kubernetes.io/instance'] !== name,
      )
      .map(({ object }) => ({ object: nameOf(object), message: 'app.kubernetes.io/instance is not its name' })),
  'label-values': (objects) =>
    objects.flatMap((object) =>
      Object.entries(object.metadata.labels ?? {})
        .filter(([, value]) => !/^([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?$/.test(value))
        .map(([label]) => ({ object: nameOf(object), message: `the label ${label} is not valid` })),
    ),
  'stable-version': (objects) =>
    objects
      .filter(({ apiVersion }) => /(alpha|beta)/.test(apiVersion) && !apiVersion.startsWith('keda.sh/'))
      .map((one) => ({ object: nameOf(one), message: `${one.apiVersion} is not a stable version` })),
  'no-secrets': (objects) =>
    objects
      .filter(({ kind }) => kind === 'Secret')
      .map((one) => ({ object: nameOf(one), message: 'a secret is in the manifests' })),
  'no-secret-in-config': (objects) =>
    ofKind(objects, 'ConfigMap').flatMap((one) =>
      Object.entries(one.data ?? {})
        .filter(
          ([key, value]) =>
            (/password|secret|bearer|token/i.test(key) && !key.endsWith('_FILE')) ||
            /PRIVATE KEY|:\/\/[^/\s:$]+:[^/\s@$]+@/.test(value),
        )
        .map(([key]) => ({ object: nameOf(one), message: `${key} looks like a secret` })),
    ),
};
