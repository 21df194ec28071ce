/** `npm run images [-- --service NAME ...]`: builds the images of the services and prints their sizes. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { versionIn } from '@pairwise/rpc';
import { docker, dockerIsRunning, run } from './docker.ts';
import { nodeImage } from './nodeImage.ts';

const services = ['dataset', 'reference', 'training', 'export', 'orchestrator'] as const;

const root = fileURLToPath(new URL('../..', import.meta.url));
const version = versionIn(new URL('../../package.json', import.meta.url));

const { values: flags } = parseArgs({
  options: {
    /** Builds only these; may be repeated. */
    service: { type: 'string', multiple: true, default: [...services] },
    /** The images are named `<repository>/<service>:<tag>`. */
    repository: { type: 'string', default: 'pairwise' },
    tag: { type: 'string', default: version },
  },
});

const print = (line: string) => process.stdout.write(`${line}\n`);

/** The current commit, marked if tracked files have changed since. */
async function revision(): Promise<string> {
  const commit = await run('git', ['-C', root, 'rev-parse', 'HEAD']);
  const changed = await run('git', ['-C', root, 'status', '--porcelain', '--untracked-files=no']);
  return changed === '' ? commit : `${commit}-changed`;
}

async function build(service: string, options: readonly string[]): Promise<void> {
  const name = `${flags.repository}/${service}:${flags.tag}`;
  const began = performance.now();
  const identity = ['--build-arg', `SERVICE=${service}`, '--tag', name];
  await docker('build', '--network=host', '--file', `${root}/deploy/Dockerfile`, ...identity, ...options, root);
  const bytes = Number(await docker('image', 'inspect', '--format', '{{.Size}}', name));
  const seconds = Math.round((performance.now() - began) / 1000);
  print(`${name.padEnd(32)} ${String(Math.round(bytes / 1e6)).padStart(4)} MB   ${String(seconds).padStart(4)} s`);
}

if (!(await dockerIsRunning())) {
  process.stderr.write('no Docker daemon is running: install Docker and start it, or set DOCKER_HOST\n');
  process.exit(1);
}
const node = await nodeImage(print);
const buildArguments = [
  `NODE_IMAGE=${node.name}`,
  `VERSION=${version}`,
  `REVISION=${await revision()}`,
  ...node.buildArguments,
];
print(`building in ${node.name}`);
for (const service of flags.service) {
  await build(
    service,
    buildArguments.flatMap((argument) => ['--build-arg', argument]),
  );
}
