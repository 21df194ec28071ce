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

/** By which name the bundle imports the runtime, instead of its package's (`imports` in the manifest). */
export const runtime = { name: 'onnxruntime-node', alias: '#onnxruntime-node' } as const;

/** Files for the platforms that Pairwise is for. macOS's library comes twice; the binding loads it by its short name. */
const files = [
  'linux/x64',
  'linux/arm64',
  'darwin/arm64/libonnxruntime.1.dylib',
  'darwin/arm64/onnxruntime_binding.node',
].map((path) => `bin/napi-v6/${path}`);

/**
 * Copies onnxruntime-node into the package at `target`, for its own install script loads CUDA's libraries from outside of
 * the registry, wanted or not, and fails the whole installation where it cannot. Returns the package's entry (its `main`
 * in the copy) and the one dependency that the copy has at run time.
 */
export function takeRuntime(target: string) {
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
  return { imports: { [runtime.alias]: `./${place}/${main}` }, needs: [common, dependencies[common]!] as const };
}
