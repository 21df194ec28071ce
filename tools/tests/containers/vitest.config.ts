import { defineConfig } from 'vitest/config';

// Each file brings up the whole platform: one at a time. A stage waits for processes to start again after kills.
export default defineConfig({ test: { fileParallelism: false, testTimeout: 240_000, hookTimeout: 120_000 } });
