import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { basename, isAbsolute, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Plugin, type PluginContext, rolldown } from 'rolldown';
import { runtime } from './runtime.ts';

/** How our code refers to files that it runs or reads: relative to the importing file, or inside a library. */
const beside = /new URL\(\s*'([^']+)',\s*import\.meta\.url,?\s*\)/g;
const inLibrary = /import\.meta\.resolve\('(@pairwise\/[^']+)'\)/g;

/**
 * Adds the files that are run or read by name: programs as further entries of the bundle, other files unchanged.
 * Imports our copy of the runtime instead of its package.
 */
function includeFiles(root: string): Plugin {
  function include(context: PluginContext, file: URL): string {
    const path = fileURLToPath(file);
    if (path.endsWith('.ts')) {
      const name = relative(root, path).replace(/\.ts$/, '').replaceAll('/', '-');
      return `import.meta.ROLLUP_FILE_URL_${context.emitFile({ type: 'chunk', id: path, name })}`;
    }
    const bytes = readFileSync(path);
    // Only the version of a package.json is ever read; the rest concerns the workspace.
    const source = basename(path) === 'package.json' ? versionOnly(bytes.toString()) : bytes;
    return `import.meta.ROLLUP_FILE_URL_${context.emitFile({ type: 'asset', name: basename(path), source })}`;
  }
  return {
    name: 'include-files',
    resolveId: (id) => (id === runtime.name ? { id: runtime.alias, external: true } : null),
    transform(code, id) {
      const changed = code
        .replaceAll(beside, (_, path: string) => `new URL(${include(this, new URL(path, pathToFileURL(id)))})`)
        .replaceAll(inLibrary, (_, name: string) => include(this, new URL(import.meta.resolve(name))));
      return changed === code ? null : { code: changed, map: null };
    },
  };
}

function versionOnly(manifest: string): string {
  const { version } = JSON.parse(manifest) as { version: string };
  return JSON.stringify({ version });
}

/** The package of an import: `@grpc/grpc-js` for `@grpc/grpc-js/build/src/x.js`. */
function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');
}

/**
 * Bundles a program and every program that it starts into `folder`, as JavaScript files that share our own code. Packages
 * from the registry remain imports. Returns their names, except the runtime's.
 */
export async function bundle(root: string, program: URL, folder: string): Promise<Set<string>> {
  const build = await rolldown({
    input: { pairwise: fileURLToPath(program) },
    platform: 'node',
    external: (id) => !id.startsWith('.') && !isAbsolute(id) && !id.startsWith('@pairwise/') && id !== runtime.name,
    plugins: [includeFiles(root)],
  });
  const { output } = await build.write({
    dir: folder,
    cleanDir: true,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'shared/[name]-[hash].js',
    assetFileNames: 'files/[name]-[hash][extname]',
  });
  await build.close();
  const files = new Set(output.map(({ fileName }) => fileName));
  const imports = output.flatMap((file) => (file.type === 'chunk' ? [...file.imports, ...file.dynamicImports] : []));
  const outside = imports.filter((name) => !files.has(name) && !isBuiltin(name) && name !== runtime.alias);
  return new Set(outside.map(packageOf));
}
