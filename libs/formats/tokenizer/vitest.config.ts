import { defineConfig } from 'vitest/config';

// Processes that hostile files crash, or that are given time to take too long.
export default defineConfig({ test: { testTimeout: 60_000 } });
