import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { takeRuntime } from './runtime.ts';

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

/** The packages with their version in the workspace, in alphabetical order. */
function pinned(names: Iterable<string>, versions: ReadonlyMap<string, string>): Record<string, string> {
  const entries = [...names].toSorted().map((name): [string, string] => {
    const version = versions.get(name);
    if (version === undefined) throw new Error(`${name} is needed, but no library and not tools/cli depends on it`);
    return [name, version];
  });
  return Object.fromEntries(entries);
}

/**
 * What the package says of itself. It depends on what the bundle imports, and, where they fit the machine, on the
 * platform packages, which libraries import by a name that they put together.
 */
export function packedManifest(
  root: string,
  imported: ReadonlySet<string>,
  { imports, needs }: ReturnType<typeof takeRuntime>,
) {
  const workspace = readManifest(root);
  const own = readManifest(join(root, 'tools/cli'));
  const libraries = globSync('libs/**/package.json', { cwd: root, exclude: ['**/node_modules'] });
  const manifests = [own, ...libraries.map((path) => readManifest(join(root, dirname(path))))];
  const platforms = new Map(manifests.flatMap((one) => Object.entries(one.optionalDependencies ?? {})));
  // Comes out together with the others; the workspace, which is not for Macs, does not lock it.
  platforms.set('@node-llama-cpp/mac-arm64-metal', platforms.get('@node-llama-cpp/linux-arm64')!);
  const versions = new Map([...manifests.flatMap((one) => Object.entries(one.dependencies ?? {})), needs]);
  // Brought to machines whose own Node is older.
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
    dependencies: pinned([...imported, needs[0], 'node'], versions),
    optionalDependencies: pinned(platforms.keys(), platforms),
    // Read by the workspace's own tools, which may look while this manifest is in the place of theirs.
    nx: own.nx,
  };
}
