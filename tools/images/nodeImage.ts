import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { docker, hasImage, run } from './docker.ts';

/** The published image with the repository's Node version; the default of deploy/Dockerfile. */
const published = `node:${process.versions.node}-bookworm-slim`;
const local = `pairwise/node:${process.versions.node}-bookworm`;
const npm = 'npm@11.19.1';
/** File in the local image with the certificate authorities of the machine that built it. */
const authorities = '/etc/ssl/certs/authorities.pem';

/** An image to build in, and the arguments that the build needs with it. */
export interface NodeImage {
  name: string;
  buildArguments: readonly string[];
}

/**
 * Finds an image with Node and npm on Debian 12: the published one or, if no registry can be reached, one built here with
 * debootstrap (on Debian, as root). The latter trusts the certificate authorities of NODE_EXTRA_CA_CERTS, if it is set.
 */
export async function nodeImage(log: (line: string) => void): Promise<NodeImage> {
  const pulled = (await hasImage(published)) || (await pull());
  if (pulled) return { name: published, buildArguments: [] };
  if (!(await hasImage(local))) {
    log(`no registry can be reached: building ${local} from Debian's packages ...`);
    await buildImage();
  }
  const hasAuthorities = process.env['NODE_EXTRA_CA_CERTS'] !== undefined;
  return { name: local, buildArguments: hasAuthorities ? [`NODE_EXTRA_CA_CERTS=${authorities}`] : [] };
}

const pull = () =>
  docker('pull', '--quiet', published).then(
    () => true,
    () => false,
  );

async function buildImage(): Promise<void> {
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
