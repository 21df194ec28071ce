import { defineConfig } from 'vitest/config';

// A busy machine takes its time.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
