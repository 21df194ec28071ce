import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { basename, isAbsolute, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Plugin, type PluginContext, rolldown } from 'rolldown';
import { runtime } from './runtime.ts';

/** What names a file of ours to run or to read: by its place beside the file that names it, or in one of our libraries. */
const beside = /new URL\(\s*'([^']+)',\s*import\.meta\.url,?\s*\)/g;
const inLibrary = /import\.meta\.resolve\('(@pairwise\/[^']+)'\)/g;

/**
 * Takes along the files that are run or read by name: programs as further entries of the bundle, others as they are; and
 * imports the runtime's copy instead of its package.
 */
function takeAlong(root: string): Plugin {
  function take(context: PluginContext, file: URL): string {
    const path = fileURLToPath(file);
    if (path.endsWith('.ts')) {
      const name = relative(root, path).replace(/\.ts$/, '').replaceAll('/', '-');
      return `import.meta.ROLLUP_FILE_URL_${context.emitFile({ type: 'chunk', id: path, name })}`;
    }
    const bytes = readFileSync(path);
    // Of a package.json all that anybody reads is the version; the rest is about the workspace.
    const source = basename(path) === 'package.json' ? versionAlone(bytes.toString()) : bytes;
    return `import.meta.ROLLUP_FILE_URL_${context.emitFile({ type: 'asset', name: basename(path), source })}`;
  }
  return {
    name: 'take-along',
    resolveId: (id) => (id === runtime.name ? { id: runtime.alias, external: true } : null),
    transform(code, id) {
      const changed = code
        .replaceAll(beside, (_, path: string) => `new URL(${take(this, new URL(path, pathToFileURL(id)))})`)
        .replaceAll(inLibrary, (_, name: string) => take(this, new URL(import.meta.resolve(name))));
      return changed === code ? null : { code: changed, map: null };
    },
  };
}

function versionAlone(manifest: string): string {
  const { version } = JSON.parse(manifest) as { version: string };
  return JSON.stringify({ version });
}

/** The package of an import: `@grpc/grpc-js` of `@grpc/grpc-js/build/src/x.js`. */
function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');
}

/**
 * Makes JavaScript of a program and of every one that it starts, into `folder`: all of our own code, in files that the
 * programs share. Packages from the registry stay imports; their names are returned, without the runtime's.
 */
export async function bundle(root: string, program: URL, folder: string): Promise<Set<string>> {
  const build = await rolldown({
    input: { pairwise: fileURLToPath(program) },
    platform: 'node',
    external: (id) => !id.startsWith('.') && !isAbsolute(id) && !id.startsWith('@pairwise/') && id !== runtime.name,
    plugins: [takeAlong(root)],
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
