import type { IContainer } from 'kubernetes-models/v1';
import { type KubernetesObject, type Workload, bytes, workloads } from './objects.ts';

/** A problem that a rule found in an object. */
export interface Finding {
  rule: string;
  object: string;
  message: string;
}

/** Rules by name. Each returns the problems of a kustomization's objects. */
export type Rules = Record<string, (objects: readonly KubernetesObject[]) => Omit<Finding, 'rule'>[]>;

const finding = ({ kind, name }: Workload, message: string) => ({ object: `${kind}/${name}`, message });

/** A rule over pods. */
const pods = (problem: (workload: Workload) => string | undefined) => (objects: readonly KubernetesObject[]) =>
  workloads(objects).flatMap((workload) => {
    const message = problem(workload);
    return message === undefined ? [] : [finding(workload, message)];
  });

/** A rule over containers. */
const containers =
  (problem: (container: IContainer, workload: Workload) => string | undefined) =>
  (objects: readonly KubernetesObject[]) =>
    workloads(objects).flatMap((workload) =>
      workload.containers.flatMap((container) => {
        const message = problem(container, workload);
        return message === undefined ? [] : [finding(workload, `${container.name}: ${message}`)];
      }),
    );

const unless = (good: boolean | undefined, message: string) => (good === true ? undefined : message);

/** Whether a workload runs until it is stopped, and so needs probes. */
const isLasting = ({ kind }: Workload) => kind !== 'Job';

const sensitiveName = /^AWS_SECRET_ACCESS_KEY$|^GOOGLE_APPLICATION_CREDENTIALS$|password|secret|bearer|(^|_)token$/i;
/**
 * The default rules of kube-linter, kube-score and Polaris about a pod and its containers, and those of Kubernetes' own
 * `restricted` level. Rules that several of them have are listed once.
 */
export const podRules: Rules = {
  'run-as-non-root': containers(({ securityContext }, { pod }) =>
    unless(securityContext?.runAsNonRoot ?? pod.securityContext?.runAsNonRoot, 'runAsNonRoot is not true'),
  ),
  'high-user-and-group': containers(({ securityContext }, { pod }) => {
    const { runAsUser = 0, runAsGroup = 0 } = { ...pod.securityContext, ...securityContext };
    return unless(runAsUser > 10_000 && runAsGroup > 10_000, 'user and group must be above 10000');
  }),
  'read-only-root': containers(({ securityContext }) =>
    unless(securityContext?.readOnlyRootFilesystem, 'readOnlyRootFilesystem is not true'),
  ),
  'no-privilege-escalation': containers(({ securityContext }) =>
    unless(
      securityContext?.allowPrivilegeEscalation === false && securityContext.privileged !== true,
      'allows privilege escalation',
    ),
  ),
  'drop-capabilities': containers(({ securityContext }) =>
    unless(
      securityContext?.capabilities?.drop?.includes('ALL') === true && securityContext.capabilities.add === undefined,
      'must drop ALL capabilities and add none',
    ),
  ),
  'seccomp-profile': containers(({ securityContext }, { pod }) =>
    unless(
      (securityContext?.seccompProfile ?? pod.securityContext?.seccompProfile)?.type === 'RuntimeDefault',
      'does not have the seccomp profile RuntimeDefault',
    ),
  ),
  'no-proc-mount': containers(({ securityContext }) =>
    unless((securityContext?.procMount ?? 'Default') === 'Default', 'exposes more of /proc'),
  ),
  'no-host': pods(({ pod }) =>
    unless(
      pod.hostNetwork !== true && pod.hostPID !== true && pod.hostIPC !== true && pod.hostUsers !== true,
      'shares namespaces with its node',
    ),
  ),
  'no-host-path': pods(({ pod }) =>
    unless(!pod.volumes?.some(({ hostPath }) => hostPath), 'mounts a folder of its node'),
  ),
  'no-host-port': containers(({ ports }) =>
    unless(!ports?.some(({ hostPort }) => hostPort), 'uses a port of its node'),
  ),
  'no-ssh': containers(({ ports }) =>
    unless(!ports?.some(({ containerPort }) => containerPort === 22), 'exposes the SSH port'),
  ),
  'no-unsafe-sysctls': pods(({ pod }) => unless(pod.securityContext?.sysctls === undefined, 'sets sysctls')),
  'cpu-and-memory': containers(({ resources }) => {
    const given = (amounts: Record<string, unknown> | undefined) => amounts?.['cpu'] && amounts['memory'];
    return unless(
      Boolean(given(resources?.requests) && given(resources?.limits)),
      'lacks requests or limits of CPU or memory',
    );
  }),
  'ephemeral-storage': containers(({ resources }, { pod, containers: all }) => {
    const [request, limit] = [resources?.requests, resources?.limits].map((each) => each?.['ephemeral-storage']);
    if (request === undefined || limit === undefined) return 'lacks a request or limit of ephemeral storage';
    const sizes = (pod.volumes ?? []).flatMap(({ emptyDir }) => (emptyDir === undefined ? [] : [emptyDir.sizeLimit]));
    if (sizes.includes(undefined)) return 'has an emptyDir without a size limit';
    const sum = sizes.reduce<number>((total, size) => total + bytes(size!), 0);
    return unless(all.length > 1 || sum < bytes(limit), 'has emptyDirs that are larger than its ephemeral storage');
  }),
  'probes-differ': containers(({ startupProbe, readinessProbe, livenessProbe }, workload) => {
    if (!isLasting(workload)) return undefined;
    if (!startupProbe || !readinessProbe || !livenessProbe) return 'lacks a startup, readiness or liveness probe';
    const asked = [startupProbe, readinessProbe, livenessProbe].map(({ grpc, exec, tcpSocket, httpGet }) =>
      JSON.stringify({ grpc, exec, tcpSocket, httpGet }),
    );
    return unless(new Set(asked).size === 3, 'has two probes that check the same');
  }),
  'probe-ports': containers(({ startupProbe, readinessProbe, livenessProbe, ports = [] }) => {
    const open = ports.flatMap(({ name, containerPort }) => [name, containerPort]);
    const asked = [startupProbe, readinessProbe, livenessProbe].flatMap((probe) => [
      probe?.grpc?.port,
      probe?.tcpSocket?.port,
      probe?.httpGet?.port,
    ]);
    const closed = asked.filter((port) => port !== undefined && !open.includes(port));
    return unless(closed.length === 0, `probes ports that it does not declare: ${closed.join(', ')}`);
  }),
  'image-digest': containers(({ image = '' }) =>
    unless(/^[\w./-]+@sha256:[0-9a-f]{64}$/.test(image), `the image ${image} has no digest`),
  ),
  'image-tag': containers(({ image = '' }) =>
    unless(/(@sha256:[0-9a-f]{64}|:(?!latest$)[\w.-]+)$/.test(image), `the image ${image} has no fixed version`),
  ),
  'pull-always': containers(({ imagePullPolicy }) =>
    unless(imagePullPolicy === 'Always', 'may use an image without asking the registry'),
  ),
  'no-secret-in-env': containers(({ env = [] }) => {
    const names = env.filter(({ name, value }) => value !== undefined && sensitiveName.test(name));
    return unless(names.length === 0, `has secrets as plain values: ${names.map(({ name }) => name).join(', ')}`);
  }),
  'no-duplicate-env': containers(({ env = [] }) =>
    unless(new Set(env.map(({ name }) => name)).size === env.length, 'sets a variable twice'),
  ),
  'no-account-token': pods(({ pod }) =>
    unless(pod.automountServiceAccountToken === false, 'gets a token for the Kubernetes API'),
  ),
  'no-deprecated-account': pods(({ pod }) =>
    unless(pod.serviceAccount === undefined, 'uses the deprecated field serviceAccount'),
  ),
  'no-service-links': pods(({ pod }) => unless(pod.enableServiceLinks === false, 'gets variables for all Services')),
  'priority-class': pods(({ pod }) => unless(pod.priorityClassName !== undefined, 'has no priority class')),
  'topology-spread': pods((workload) =>
    unless(!isLasting(workload) || Boolean(workload.pod.topologySpreadConstraints?.length), 'is not spread over zones'),
  ),
  'anti-affinity': pods((workload) => {
    const { preferredDuringSchedulingIgnoredDuringExecution: preferred = [] } =
      workload.pod.affinity?.podAntiAffinity ?? {};
    const apart = preferred.some(({ podAffinityTerm: term }) => term.topologyKey === 'kubernetes.io/hostname');
    return unless(!isLasting(workload) || apart, 'may share a node with its replicas');
  }),
};
