import type { IDeployment, IStatefulSet } from 'kubernetes-models/apps/v1';
import type { IJob } from 'kubernetes-models/batch/v1';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1';
import type { IConfigMap, IContainer, IPodTemplateSpec, IService, IServiceAccount } from 'kubernetes-models/v1';
import type { IScaledJob, IScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1';

export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
}

/** The kinds that the tests examine. */
export interface Kinds {
  ConfigMap: IConfigMap;
  Deployment: IDeployment;
  Job: IJob;
  NetworkPolicy: INetworkPolicy;
  PodDisruptionBudget: IPodDisruptionBudget;
  ScaledJob: IScaledJob;
  ScaledObject: IScaledObject;
  Service: IService;
  ServiceAccount: IServiceAccount;
  StatefulSet: IStatefulSet;
}

/** An object of a kind. */
export type ObjectOf<Kind extends keyof Kinds> = Kinds[Kind] & KubernetesObject;

/** All objects of a kind. Their types can be trusted, because `schema.ts` checks every object. */
export function ofKind<Kind extends keyof Kinds>(objects: readonly KubernetesObject[], kind: Kind): ObjectOf<Kind>[] {
  return objects.filter((object): object is ObjectOf<Kind> => object.kind === kind);
}

/** An object that creates pods. */
export interface Workload {
  object: KubernetesObject;
  kind: 'Deployment' | 'Job' | 'ScaledJob' | 'StatefulSet';
  name: string;
  /** Labels of the pods. */
  labels: Record<string, string>;
  template: IPodTemplateSpec;
  pod: NonNullable<IPodTemplateSpec['spec']>;
  containers: IContainer[];
  /** Only Deployments and StatefulSets have it. */
  replicas: number | undefined;
}

export function workloads(objects: readonly KubernetesObject[]): Workload[] {
  const made = (
    kind: Workload['kind'],
    object: KubernetesObject,
    template: IPodTemplateSpec,
    replicas?: number,
  ): Workload => ({
    object,
    kind,
    name: object.metadata.name,
    labels: template.metadata?.labels ?? {},
    template,
    pod: template.spec!,
    containers: [...(template.spec?.initContainers ?? []), ...template.spec!.containers],
    replicas,
  });
  return [
    ...ofKind(objects, 'Deployment').map((one) => made('Deployment', one, one.spec!.template, one.spec!.replicas)),
    ...ofKind(objects, 'StatefulSet').map((one) => made('StatefulSet', one, one.spec!.template, one.spec!.replicas)),
    ...ofKind(objects, 'Job').map((one) => made('Job', one, one.spec!.template)),
    ...ofKind(objects, 'ScaledJob').map((one) => made('ScaledJob', one, one.spec!.jobTargetRef.template)),
  ];
}

/** Whether a selector matches labels. An empty one matches all. */
export function matchesSelector(
  selector: { matchLabels?: Record<string, string> } | undefined,
  labels: Record<string, string>,
): boolean {
  return Object.entries(selector?.matchLabels ?? {}).every(([name, value]) => labels[name] === value);
}

/** Bytes of a Kubernetes quantity: `1Gi`, `256Mi`, `1k` or a plain number. */
export function bytes(quantity: string | number): number {
  const [, digits = '', unit = ''] = /^(\d+)(Ki|Mi|Gi|Ti|k|M|G|T)?$/.exec(String(quantity)) ?? [];
  const powers = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, k: 1e3, M: 1e6, G: 1e9, T: 1e12, '': 1 };
  if (digits === '') throw new Error(`'${quantity}' is not a quantity of bytes`);
  return Number(digits) * powers[unit as keyof typeof powers];
}
