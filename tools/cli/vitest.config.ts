import { defineConfig } from 'vitest/config';

// Processes are started and stopped, on a machine that may be busy.
export default defineConfig({ test: { testTimeout: 120_000, hookTimeout: 120_000 } });
