import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Each file brings up the whole platform: two at a time, since they often wait for processes to start again. All of these
// share what V8 makes of the sources.
const env = { NODE_COMPILE_CACHE: fileURLToPath(new URL('../../../node_modules/.cache/compiled', import.meta.url)) };
export default defineConfig({ test: { env, maxWorkers: 2, testTimeout: 240_000, hookTimeout: 120_000 } });
