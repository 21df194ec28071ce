/**
 * Before `npm pack`: makes the bundle, fetches the licence, and puts the package's manifest in the place of the
 * workspace's. `postpack.ts` tidies up.
 */
import { copyFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundle.ts';
import { packedManifest } from './manifest.ts';
import { folder, kept, root, tidy } from './places.ts';
import { takeRuntime } from './runtime.ts';

// An earlier packing may have been interrupted.
tidy();
const imported = await bundle(root, new URL('../main.ts', import.meta.url), join(folder, 'dist'));
const manifest = packedManifest(root, imported, takeRuntime(folder));
copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
renameSync(join(folder, 'package.json'), kept);
writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
