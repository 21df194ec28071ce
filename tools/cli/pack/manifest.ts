import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CopiedRuntime } from './runtime.ts';

interface Manifest {
  version: string;
  description: string;
  license: string;
  nx: object;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

/** The packages with their versions in the workspace, in alphabetical order. */
function pinned(names: Iterable<string>, versions: ReadonlyMap<string, string>): Record<string, string> {
  const entries = [...names].toSorted().map((name): [string, string] => {
    const version = versions.get(name);
    if (version === undefined)
      throw new Error(`the bundle imports ${name}, but neither a library nor tools/cli depends on it`);
    return [name, version];
  });
  return Object.fromEntries(entries);
}

/**
 * The manifest of the package. It depends on what the bundle imports. The packages for one platform each are optional
 * dependencies: libraries build their names at run time, so the bundle does not show them.
 */
export function packedManifest(root: string, imported: ReadonlySet<string>, { imports, dependency }: CopiedRuntime) {
  const workspace = readManifest(root);
  const own = readManifest(join(root, 'tools/cli'));
  const libraries = globSync('libs/**/package.json', { cwd: root, exclude: ['**/node_modules'] });
  const manifests = [own, ...libraries.map((path) => readManifest(join(root, dirname(path))))];
  const platforms = new Map(manifests.flatMap((one) => Object.entries(one.optionalDependencies ?? {})));
  // Released together with the others. The workspace does not support Macs, so its lock file does not have it.
  platforms.set('@node-llama-cpp/mac-arm64-metal', platforms.get('@node-llama-cpp/linux-arm64')!);
  const versions = new Map([...manifests.flatMap((one) => Object.entries(one.dependencies ?? {})), dependency]);
  // For machines with an older Node.
  versions.set('node', workspace.dependencies!['node']!);
  return {
    name: 'pairwise',
    version: own.version,
    description: workspace.description,
    license: workspace.license,
    type: 'module',
    bin: { pairwise: 'dist/pairwise.js' },
    imports,
    files: ['dist'],
    engines: { node: '>=20' },
    os: ['linux', 'darwin'],
    cpu: ['x64', 'arm64'],
    dependencies: pinned([...imported, dependency[0], 'node'], versions),
    optionalDependencies: pinned(platforms.keys(), platforms),
    // Nx may read the manifest while this one takes the place of the workspace's.
    nx: own.nx,
  };
}
