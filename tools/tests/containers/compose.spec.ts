import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { processes, type PlatformProcess } from 'pairwise/up/processes';

// Compares compose.yaml with the code: each process gets the variables that it reads, and each call reaches its service.

interface ComposeService {
  image: string;
  environment?: Record<string, string>;
  command?: string[];
  volumes?: string[];
}

const folder = resolve(import.meta.dirname, '../../../deploy');
const { services } = parse(readFileSync(`${folder}/compose.yaml`, 'utf8'), { merge: true }) as {
  services: Record<string, ComposeService>;
};

/** Replaces variables as Compose does: by their defaults, and by some text if they have none. */
const filled = (text: string) =>
  text.replaceAll(/\$\{\w+(?::([-?])([^}]*))?\}/g, (_all, kind, rest: string) => (kind === '-' ? rest : 'given'));

const environmentOf = (name: string) =>
  Object.fromEntries(Object.entries(services[name]!.environment!).map(([key, value]) => [key, filled(value)]));

/** Variables that the images set. */
const imageEnvironment = Object.fromEntries(
  /^ENV (.*)$/m
    .exec(readFileSync(`${folder}/Dockerfile`, 'utf8'))![1]!
    .split(' ')
    .map((entry) => entry.split('=') as [string, string]),
);

type Reader = (environment: Record<string, string>) => Record<string, unknown>;

/** The variables that a process reads, with their values. */
async function configOf({ name, program }: PlatformProcess): Promise<Record<string, unknown>> {
  const config = (await import(new URL('config.ts', program).href)) as Record<string, Reader>;
  return config[program.pathname.endsWith('worker.ts') ? 'readWorkerConfig' : 'readConfig']!({
    ...imageEnvironment,
    ...environmentOf(name),
  });
}

test.each<PlatformProcess>([...processes])('$name reads the variables that it gets', async (one) => {
  const { image, command = ['main.ts'] } = services[one.name]!;
  const [service, program] = one.program.pathname.split('/').slice(-2);
  expect(filled(image)).toMatch(new RegExp(`^pairwise/${service!}:\\d+\\.\\d+\\.\\d+$`));
  expect(command).toEqual([program]);
  const environment = environmentOf(one.name);
  const config = await configOf(one);
  // All processes get the same addresses and security settings; a process need not read all of them.
  const own = Object.keys(environment).filter((key) => !/_ADDRESS$|^OTEL_|^PAIRWISE_INSECURE$/.test(key));
  expect(Object.keys(config)).toEqual(expect.arrayContaining(own));
});

test.each<PlatformProcess>([...processes])('$name finds its peers', async (one) => {
  for (const key of Object.keys(await configOf(one)).filter((name) => name.endsWith('_ADDRESS'))) {
    const peer = processes.find((other) => 'variable' in other && other.variable === key)!;
    const port = environmentOf(peer.name)['PAIRWISE_LISTEN']!.split(':')[1]!;
    expect(environmentOf(one.name)[key]).toBe(`${peer.name}:${port}`);
  }
});

test('the gateway routes each service to the process that serves it', () => {
  const locations = readFileSync(`${folder}/compose/gateway.conf`, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, kind, path, to] = /location (~ )?(\S+) \{ set \$to (\S+);/.exec(line) ?? [];
      if (path === undefined || to === undefined) return [];
      return [
        {
          matches:
            kind === undefined ? (url: string) => url.startsWith(path) : (url: string) => new RegExp(path).test(url),
          to,
        },
      ];
    });
  for (const one of processes.filter(({ services: names }) => names.length > 0)) {
    const port = environmentOf(one.name)['PAIRWISE_LISTEN']!.split(':')[1]!;
    for (const service of one.services) {
      expect(locations.find(({ matches }) => matches(`/${service}/Get`))?.to).toBe(`${one.name}:${port}`);
    }
  }
});

test('images have versions, and mounted files exist', () => {
  for (const { image, volumes = [] } of Object.values(services)) {
    expect(filled(image)).toMatch(/:v?\d+\.\d+/);
    const files = volumes.map((volume) => filled(volume).split(':')[0]!).filter((path) => path.startsWith('./'));
    for (const file of files) if (file !== './models') expect(existsSync(resolve(folder, file)), file).toBe(true);
  }
});
