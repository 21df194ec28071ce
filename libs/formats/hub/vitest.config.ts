import { defineConfig } from 'vitest/config';

// A busy machine is slow.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
