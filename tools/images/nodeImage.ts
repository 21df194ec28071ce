import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { docker, hasImage, run } from './docker.ts';

/** The published image of the Node version that the repository runs on; the default of deploy/Dockerfile. */
const published = `node:${process.versions.node}-bookworm-slim`;
const local = `pairwise/node:${process.versions.node}-bookworm`;
/** Pinned like everything else that goes into a build. */
const npm = 'npm@11.19.1';
/** Where the local image has the certificate authorities of the machine that made it. */
const authorities = '/etc/ssl/certs/authorities.pem';

/** An image to build in, and the arguments that the build needs with it. */
export interface NodeImage {
  name: string;
  buildArguments: readonly string[];
}

/**
 * An image with Node and npm on Debian 12: the published one, or where no registry can be reached one that is made here
 * by debootstrap (on Debian, as root), with this machine's certificate authorities if NODE_EXTRA_CA_CERTS names some.
 */
export async function nodeImage(tell: (line: string) => void): Promise<NodeImage> {
  const pulled = (await hasImage(published)) || (await pull());
  if (pulled) return { name: published, buildArguments: [] };
  if (!(await hasImage(local))) {
    tell(`no registry has answered: making ${local} from Debian's packages ...`);
    await make();
  }
  const hasAuthorities = process.env['NODE_EXTRA_CA_CERTS'] !== undefined;
  return { name: local, buildArguments: hasAuthorities ? [`NODE_EXTRA_CA_CERTS=${authorities}`] : [] };
}

const pull = () =>
  docker('pull', '--quiet', published).then(
    () => true,
    () => false,
  );

async function make(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'pairwise-base-'));
  const root = join(folder, 'root');
  try {
    await run('debootstrap', ['--variant=minbase', 'bookworm', root]);
    const node = join(dirname(createRequire(import.meta.url).resolve('node/package.json')), 'bin', 'node');
    await copyFile(node, join(root, 'usr/local/bin/node'));
    await run('npm', ['install', '--global', '--no-progress', '--prefix', join(root, 'usr/local'), npm]);
    const given = process.env['NODE_EXTRA_CA_CERTS'];
    if (given !== undefined) {
      await mkdir(join(root, dirname(authorities)), { recursive: true });
      await copyFile(given, join(root, authorities));
    }
    const archive = join(folder, 'root.tar');
    await run('tar', ['--create', '--file', archive, '--directory', root, '.']);
    await docker('import', archive, local);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
