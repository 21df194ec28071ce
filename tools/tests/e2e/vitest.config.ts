import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Each file starts the whole platform. Two run at a time, since they often wait for restarts. All share V8's compile cache.
const env = { NODE_COMPILE_CACHE: fileURLToPath(new URL('../../../node_modules/.cache/compiled', import.meta.url)) };
export default defineConfig({ test: { env, maxWorkers: 2, testTimeout: 240_000, hookTimeout: 120_000 } });
