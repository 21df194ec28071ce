import { copyFileSync, cpSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

interface RuntimeManifest {
  name: string;
  version: string;
  license: string;
  main: string;
  dependencies: Record<string, string>;
}

const require = createRequire(import.meta.url);

/** The alias under which the bundle imports the runtime (`imports` in the manifest). */
export const runtime = { name: 'onnxruntime-node', alias: '#onnxruntime-node' } as const;

/** What the package's manifest takes from the copied runtime. */
export interface CopiedRuntime {
  /** The manifest's `imports`: the alias of the copy. */
  imports: Record<string, string>;
  /** The runtime's one dependency, with its version. */
  dependency: readonly [name: string, version: string];
}

/** Files for the supported platforms. macOS's library is there under two names; the binding loads the short one. */
const files = [
  'linux/x64',
  'linux/arm64',
  'darwin/arm64/libonnxruntime.1.dylib',
  'darwin/arm64/onnxruntime_binding.node',
].map((path) => `bin/napi-v6/${path}`);

/**
 * Copies onnxruntime-node into the package at `target`. Its own install script would download CUDA libraries from outside
 * the registry, and fail the whole installation if it cannot.
 */
export function copyRuntime(target: string): CopiedRuntime {
  const path = require.resolve(`${runtime.name}/package.json`);
  const { name, version, license, main, dependencies } = require(path) as RuntimeManifest;
  const source = dirname(path);
  const place = 'dist/onnxruntime-node';
  const folder = join(target, place);
  for (const file of ['dist', ...files]) {
    cpSync(join(source, file), join(folder, file), { recursive: true, filter: (one) => !/\.(map|d\.ts)$/.test(one) });
  }
  copyFileSync(join(import.meta.dirname, 'onnxruntime.LICENSE'), join(folder, 'LICENSE'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, version, license, main, type: 'commonjs' }));
  const common = 'onnxruntime-common';
  return { imports: { [runtime.alias]: `./${place}/${main}` }, dependency: [common, dependencies[common]!] };
}
