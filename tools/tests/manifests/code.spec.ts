import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { callers, readEnvironment, variables } from '@pairwise/config';
import { allocatorSettings } from '@pairwise/lifecycle';
import { beforeAll, expect, test } from 'vitest';
import { readConfig as dataset } from '@pairwise/service-dataset/config';
import { readConfig as exporter } from '@pairwise/service-export/config';
import { readConfig as orchestrator } from '@pairwise/service-orchestrator/config';
import { readConfig as reference, readWorkerConfig as referenceWorker } from '@pairwise/service-reference/config';
import { readConfig as training, readWorkerConfig as trainingWorker } from '@pairwise/service-training/config';
import { containerEnvironment, mountsOf, secrets } from './environment.ts';
import { type KubernetesObject, type Workload, bytes, matchesSelector, ofKind, workloads } from './objects.ts';
import { overlays, render, renderOverlay } from './render.ts';

// Compares the manifests with the code: each process gets the variables that it reads and may reach the processes that it calls.

const readers = {
  dataset,
  reference,
  'reference-worker': referenceWorker,
  training,
  'training-worker': trainingWorker,
  export: exporter,
  orchestrator,
};
type ProcessName = keyof typeof readers;
const names = Object.keys(readers) as ProcessName[];

/** Variables that libraries read, according to the documentation of OpenTelemetry and the AWS SDK. */
const readByLibraries = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'];

/** Variables that are read but may stay unset, and why. */
const defaulted: Record<string, string> = {
  PAIRWISE_INSECURE: 'no',
  PAIRWISE_TOKEN_FILE: 'peers authenticate with certificates, and callers with the access file',
  PAIRWISE_MODEL_ROOTS: 'models come only from the hub',
  PAIRWISE_BLOB_URL: 'without s3, the shared volume',
  PAIRWISE_EXIT_WHEN_IDLE: 'without keda, workers keep running',
  HF_ENDPOINT: 'the public hub',
  HF_HUB_OFFLINE: 'no',
  HF_TOKEN: 'without hub-push, the export process reaches no hub',
  PAIRWISE_HUB_PUSH_NAMESPACES: 'without hub-push, nothing is pushed',
  AWS_ENDPOINT_URL: "Amazon, unless the operator's kustomization sets it",
  AWS_ENDPOINT_URL_S3: "Amazon, unless the operator's kustomization sets it",
  AWS_REGION: 'unused without s3',
};

/** A valid value for every variable, so that a process can read all that it needs. */
const samples: Record<string, string> = {
  PAIRWISE_LISTEN: '0.0.0.0:7411',
  PAIRWISE_HEALTH_LISTEN: '0.0.0.0:7400',
  DATABASE_URL: secrets['pairwise-database']!['url']!,
  PAIRWISE_BLOB_URL: 's3://pairwise',
  PAIRWISE_CACHE_BYTES: '1',
  AWS_ENDPOINT_URL: 'https://s3.example.com',
  AWS_ENDPOINT_URL_S3: 'https://s3.example.com',
  PAIRWISE_DATASET_ADDRESS: 'dataset:1',
  PAIRWISE_REFERENCE_ADDRESS: 'reference:1',
  PAIRWISE_TRAINING_ADDRESS: 'training:1',
  PAIRWISE_EXPORT_ADDRESS: 'export:1',
  PAIRWISE_THREADS: '1',
  PAIRWISE_DEVICE: 'cpu',
  PAIRWISE_INSECURE: 'false',
  PAIRWISE_EXIT_WHEN_IDLE: 'false',
  HF_ENDPOINT: 'https://hub.example.com',
  HF_HUB_OFFLINE: 'false',
};
const sampled = Object.fromEntries(Object.keys(variables).map((name) => [name, samples[name] ?? 'text']));

/** The variables that a process reads. */
const readBy = (name: ProcessName) => Object.keys(readers[name](sampled));

const processOf = (objects: KubernetesObject[], name: ProcessName): Workload =>
  workloads(objects).find(({ labels }) => labels['app.kubernetes.io/component'] === name)!;
const environment = (objects: KubernetesObject[], name: ProcessName) =>
  containerEnvironment(objects, processOf(objects, name).containers[0]!);

const rendered = new Map<string, KubernetesObject[]>();
beforeAll(() => {
  for (const overlay of overlays) rendered.set(overlay, renderOverlay(overlay));
});
const everywhere = overlays.flatMap((overlay) => names.map((name) => [overlay, name] as const));

/** Problems of the environment that a process gets. */
function environmentProblems(name: ProcessName, given: Record<string, string>): string[] {
  const read = readBy(name);
  readers[name](given);
  return [
    ...Object.keys(given)
      .filter((each) => !read.includes(each) && !readByLibraries.includes(each))
      .map((each) => `${each} is set but not read`),
    ...read.filter((each) => !(each in given) && !(each in defaulted)).map((each) => `${each} is read but not set`),
  ];
}

test.each(everywhere)('%s: %s gets exactly the variables that it reads', (overlay, name) => {
  expect(environmentProblems(name, environment(rendered.get(overlay)!, name))).toEqual([]);
});

test('an unread variable, an unset variable and an invalid value are noticed', () => {
  const given = environment(rendered.get('gpu-fleet')!, 'export');
  expect(environmentProblems('export', { ...given, PAIRWISE_DEVICE: 'cpu' })).toEqual([
    'PAIRWISE_DEVICE is set but not read',
  ]);
  const rest = Object.entries(given).filter(([variable]) => variable !== 'PAIRWISE_CACHE_BYTES');
  expect(environmentProblems('export', Object.fromEntries(rest))).toEqual(['PAIRWISE_CACHE_BYTES is read but not set']);
  expect(() => environmentProblems('export', { ...given, PAIRWISE_LISTEN: '7414' })).toThrow(/PAIRWISE_LISTEN/);
});

test('every listed default is used somewhere', () => {
  const unset = everywhere.flatMap(([overlay, name]) => {
    const given = environment(rendered.get(overlay)!, name);
    return readBy(name).filter((each) => !(each in given));
  });
  expect(Object.keys(defaulted).filter((each) => !unset.includes(each))).toEqual([]);
});

test.each(everywhere)('%s: %s runs its program, and its files and folders are mounted', (overlay, name) => {
  const objects = rendered.get(overlay)!;
  const workload = processOf(objects, name);
  const [container] = workload.containers as [Workload['containers'][number]];
  const service = name.replace(/-worker$/, '');
  expect(container.image).toMatch(new RegExp(`^pairwise/${service}(-cuda)?@`));
  const program = container.args?.[0] ?? 'main.ts';
  expect(program).toBe(name.endsWith('-worker') ? 'worker.ts' : 'main.ts');
  expect(existsSync(join(import.meta.dirname, '../../../services', service, program))).toBe(true);

  const mounts = mountsOf(workload, container);
  const given = environment(objects, name);
  for (const file of ['PAIRWISE_TLS_CERT', 'PAIRWISE_TLS_KEY', 'PAIRWISE_TLS_CA']) {
    if (given[file] === undefined) continue;
    const [folder, base] = [given[file].replace(/\/[^/]+$/, ''), given[file].replace(/^.*\//, '')];
    expect(mounts.get(folder)?.secret?.secretName).toBe(`pairwise-${name}-tls`);
    expect(['tls.crt', 'tls.key', 'ca.crt']).toContain(base);
  }
  if (given['PAIRWISE_ACCESS_FILE'] !== undefined) {
    expect(mounts.get('/etc/pairwise/access')?.secret?.secretName).toBe('pairwise-access');
    expect(given['PAIRWISE_ACCESS_FILE']).toBe('/etc/pairwise/access/access.json');
  }
  for (const folder of ['PAIRWISE_DATA', 'PAIRWISE_CACHE']) {
    if (given[folder] !== undefined) expect([...mounts.keys()]).toContain(given[folder]);
  }
  const cache = mounts.get(given['PAIRWISE_CACHE'] ?? '')?.emptyDir?.sizeLimit;
  if (cache !== undefined) expect(Number(given['PAIRWISE_CACHE_BYTES'])).toBeLessThan(bytes(cache));
  // A file store needs its volume mounted at the store's folder.
  if (given['PAIRWISE_CACHE'] !== undefined && given['PAIRWISE_BLOB_URL'] === undefined)
    expect(mounts.get(`${given['PAIRWISE_DATA']}/blobs`)?.persistentVolumeClaim?.claimName).toBe('pairwise-blobs');
});

test.each(overlays)('%s: every Service has the port of its process, and probes use the health port', (overlay) => {
  const objects = rendered.get(overlay)!;
  for (const name of names) {
    const [container] = processOf(objects, name).containers as [Workload['containers'][number]];
    const { PAIRWISE_LISTEN: listen, PAIRWISE_HEALTH_LISTEN: health } = environment(objects, name);
    const ports: Record<string, number> = Object.fromEntries(
      (container.ports ?? []).map((port) => [port.name ?? '', port.containerPort]),
    );
    const portOf = (address: string | undefined) => (address === undefined ? undefined : Number(address.split(':')[1]));
    expect(ports).toEqual({ ...(listen === undefined ? {} : { grpc: portOf(listen) }), health: portOf(health) });
    const asked = [container.startupProbe, container.readinessProbe, container.livenessProbe].map(
      (probe) => probe?.grpc,
    );
    expect(asked).toEqual([
      { port: ports['health'], service: 'startup' },
      { port: ports['health'] },
      { port: ports['health'], service: 'liveness' },
    ]);
    const service = ofKind(objects, 'Service').find(({ metadata }) => metadata.name === `pairwise-${name}`);
    expect(service?.spec?.ports?.[0]?.port).toBe(portOf(listen));
  }
});

/** The processes that a process may reach, or be reached from, as `component:port`. Reads the policies of one side only. */
function edges(objects: KubernetesObject[], name: ProcessName, side: 'ingress' | 'egress'): string[] {
  const { labels } = processOf(objects, name);
  return ofKind(objects, 'NetworkPolicy')
    .filter(({ spec }) => matchesSelector(spec?.podSelector, labels))
    .flatMap(({ spec }) =>
      side === 'egress'
        ? (spec?.egress ?? []).map(({ to, ports }) => ({ peers: to, ports }))
        : (spec?.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports })),
    )
    .flatMap(({ peers = [], ports = [] }) =>
      peers.flatMap(({ podSelector, namespaceSelector }) => {
        const component = podSelector?.matchLabels?.['app.kubernetes.io/component'];
        return namespaceSelector || component === undefined ? [] : ports.map(({ port }) => `${component}:${port}`);
      }),
    )
    .filter((edge) => names.some((each) => edge.startsWith(`${each}:`)))
    .sort();
}

const addressVariables = {
  dataset: 'PAIRWISE_DATASET_ADDRESS',
  reference: 'PAIRWISE_REFERENCE_ADDRESS',
  training: 'PAIRWISE_TRAINING_ADDRESS',
  export: 'PAIRWISE_EXPORT_ADDRESS',
} as const;
const servers = Object.keys(callers) as (keyof typeof callers)[];
const portOf = (objects: KubernetesObject[], name: ProcessName) =>
  environment(objects, name)['PAIRWISE_LISTEN']!.split(':')[1]!;

test.each(overlays)('%s: addresses, network policies and the servers’ lists of callers agree', (overlay) => {
  const objects = rendered.get(overlay)!;
  for (const name of names) {
    const called = Object.entries(addressVariables).filter(([, variable]) => readBy(name).includes(variable));
    for (const [server, variable] of called) {
      const address = `pairwise-${server}:${portOf(objects, server as ProcessName)}`;
      expect(environment(objects, name)[variable]).toBe(address);
    }
    const wanted = called.map(([server]) => `${server}:${portOf(objects, server as ProcessName)}`).sort();
    expect(edges(objects, name, 'egress'), `${name} reaches`).toEqual(wanted);
  }
  for (const server of servers) {
    const readers = names.filter((name) =>
      readBy(name).includes(addressVariables[server as keyof typeof addressVariables]),
    );
    expect([...callers[server]].sort(), `callers of ${server}`).toEqual([...readers].sort());
    const wanted = readers.map((name) => `${name}:${portOf(objects, server)}`).sort();
    expect(edges(objects, server, 'ingress'), `${server} is reached by`).toEqual(wanted);
  }
});

test('a missing edge and an extra edge are noticed', () => {
  const objects = structuredClone(rendered.get('gpu-fleet')!);
  const policy = ofKind(objects, 'NetworkPolicy').find(({ metadata }) => metadata.name === 'pairwise-export')!;
  expect(edges(objects, 'export', 'egress')).toEqual(['dataset:7411', 'training:7413']);
  policy.spec!.egress!.pop();
  policy.spec!.ingress![0]!.from!.push({
    podSelector: { matchLabels: { 'app.kubernetes.io/component': 'reference' } },
  });
  expect(edges(objects, 'export', 'egress')).toEqual(['dataset:7411']);
  expect(edges(objects, 'export', 'ingress')).toEqual(['orchestrator:7414', 'reference:7414']);
});

/** Names of the policies that let a process reach the internet. */
function policiesToInternet(objects: KubernetesObject[]): string[] {
  const outside = ofKind(objects, 'NetworkPolicy').filter(({ spec }) =>
    spec?.egress?.some(
      ({ to }) => !to?.length || to.some(({ ipBlock }) => /^(0\.0\.0\.0|::)\/0$/.test(ipBlock?.cidr ?? '')),
    ),
  );
  return outside.map(({ metadata }) => metadata.name);
}

test.each(overlays)('%s: only the dataset process reaches the internet', (overlay) => {
  expect(policiesToInternet(rendered.get(overlay)!)).toEqual(['pairwise-dataset']);
});

test('with hub-push, the export process also reaches the hub, with a token of its own', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-hub-push-'));
  try {
    const deploy = relative(folder, join(import.meta.dirname, '../../../deploy'));
    const [resources, components] = [[`${deploy}/overlays/gpu-fleet`], [`${deploy}/components/hub-push`]];
    const kustomization = JSON.stringify({ namespace: 'pairwise', resources, components });
    writeFileSync(join(folder, 'kustomization.yaml'), kustomization);
    const objects = render(folder);
    expect(policiesToInternet(objects).sort()).toEqual(['pairwise-dataset', 'pairwise-hub-push']);
    const policy = ofKind(objects, 'NetworkPolicy').find(({ metadata }) => metadata.name === 'pairwise-hub-push')!;
    const reached = names.filter((name) => matchesSelector(policy.spec?.podSelector, processOf(objects, name).labels));
    expect(reached).toEqual(['export']);
    const given = environment(objects, 'export');
    expect(environmentProblems('export', given)).toEqual([]);
    expect(given).toMatchObject({ HF_TOKEN: secrets['pairwise-hub-push']!['token'], PAIRWISE_HUB_PUSH_NAMESPACES: '' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.each(overlays)(
  '%s: every process that needs a certificate has its own, in the secret that it mounts',
  (overlay) => {
    const certificates = rendered.get(overlay)!.filter(({ kind }) => kind === 'Certificate') as (KubernetesObject & {
      spec: { secretName: string; uris?: string[]; dnsNames?: string[] };
    })[];
    for (const name of names.filter((each) => readBy(each).includes('PAIRWISE_TLS_CERT'))) {
      const { spec } = certificates.find(({ metadata }) => metadata.name === `pairwise-${name}`)!;
      expect(spec).toMatchObject({ secretName: `pairwise-${name}-tls`, uris: [`spiffe://pairwise/${name}`] });
      expect(spec.dnsNames).toEqual(name in callers ? [`pairwise-${name}`] : undefined);
    }
  },
);

test.each(overlays)('%s: the migrations job covers all services', (overlay) => {
  const [job] = ofKind(rendered.get(overlay)!, 'Job');
  const containers = job!.spec!.template.spec!.containers;
  expect(containers.map(({ name }) => name)).toEqual(servers);
  for (const container of containers) {
    expect(container.image).toMatch(new RegExp(`^pairwise/${container.name}@`));
    expect(container.args).toEqual(['migrate.ts']);
    expect(existsSync(join(import.meta.dirname, '../../../services', container.name, 'migrate.ts'))).toBe(true);
    expect(Object.keys(containerEnvironment(rendered.get(overlay)!, container))).toEqual(['DATABASE_URL']);
    readEnvironment(containerEnvironment(rendered.get(overlay)!, container), ['DATABASE_URL']);
  }
});

test.each(['Dockerfile', 'cuda.Dockerfile'])(
  'the images of %s have the settings of the C library that memory is planned for',
  (name) => {
    const dockerfile = readFileSync(resolve(import.meta.dirname, '../../../deploy', name), 'utf8');
    const last = dockerfile.match(/^ENV .*/gm)!.at(-1);
    for (const [variable, value] of Object.entries(allocatorSettings)) expect(last).toContain(`${variable}=${value}`);
  },
);
