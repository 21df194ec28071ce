/**
 * Runs before `npm pack`: writes the bundle, copies the licence, and replaces the workspace's manifest with the package's.
 * `postpack.ts` undoes it.
 */
import { copyFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundle.ts';
import { packedManifest } from './manifest.ts';
import { folder, restore, root, savedManifest } from './places.ts';
import { copyRuntime } from './runtime.ts';

// An earlier packing may have been interrupted.
restore();
const imported = await bundle(root, new URL('../main.ts', import.meta.url), join(folder, 'dist'));
const manifest = packedManifest(root, imported, copyRuntime(folder));
copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
renameSync(join(folder, 'package.json'), savedManifest);
writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
