import { defineConfig } from 'vitest/config';

// Each file brings up the whole platform: two at a time, since they often wait for processes to start again.
export default defineConfig({ test: { maxWorkers: 2, testTimeout: 240_000, hookTimeout: 120_000 } });
