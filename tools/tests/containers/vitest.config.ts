import { defineConfig } from 'vitest/config';

// Each file starts the whole platform, so they run one at a time. Stages wait for restarts after kills.
export default defineConfig({ test: { fileParallelism: false, testTimeout: 240_000, hookTimeout: 120_000 } });
