import type { IContainer } from 'kubernetes-models/v1';
import { type KubernetesObject, type Workload, ofKind } from './objects.ts';

/** Test values of the secrets that the manifests refer to. Operators create them as docs/operating.md says. */
export const secrets: Record<string, Record<string, string>> = {
  'pairwise-database': { url: 'postgres://pairwise:password@postgres:5432/pairwise?sslmode=verify-full' },
  'pairwise-queues': { url: 'postgres://pairwise_queues:password@postgres:5432/pairwise?sslmode=require' },
  'pairwise-blobs': { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'key' },
  'pairwise-hub': { token: 'hf_token' },
  'pairwise-hub-push': { token: 'hf_write_token' },
  'pairwise-postgres': { superuser: 'password', pairwise: 'password' },
  'pairwise-access': { 'access.json': '[]' },
};

function found<Value>(value: Value | undefined, what: string): Value {
  if (value === undefined) throw new Error(`${what} does not exist`);
  return value;
}

const configMap = (objects: readonly KubernetesObject[], name: string | undefined) =>
  found(
    ofKind(objects, 'ConfigMap').find(({ metadata }) => metadata.name === name),
    `ConfigMap ${name}`,
  ).data ?? {};

/** The environment that a container gets. Throws if it refers to something that does not exist. */
export function containerEnvironment(
  objects: readonly KubernetesObject[],
  container: IContainer,
): Record<string, string> {
  const given: Record<string, string> = {};
  for (const { configMapRef, secretRef } of container.envFrom ?? []) {
    if (configMapRef) Object.assign(given, configMap(objects, configMapRef.name));
    if (secretRef) Object.assign(given, found(secrets[secretRef.name ?? ''], `secret ${secretRef.name}`));
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    const { secretKeyRef: secret, resourceFieldRef: resource } = valueFrom ?? {};
    if (secret) given[name] = found(secrets[secret.name ?? '']?.[secret.key], `secret ${secret.name}, ${secret.key}`);
    else if (resource) given[name] = String(Math.ceil(Number(container.resources?.limits?.['cpu'])));
    else given[name] = value ?? '';
  }
  return given;
}

/** Mounted volumes of a container, by path. */
export function mountsOf(
  { pod }: Workload,
  container: IContainer,
): Map<string, NonNullable<typeof pod.volumes>[number]> {
  return new Map(
    (container.volumeMounts ?? []).map(({ mountPath, name }) => [
      mountPath,
      found(
        pod.volumes?.find((volume) => volume.name === name),
        `volume ${name}`,
      ),
    ]),
  );
}
