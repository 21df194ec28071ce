import { defineConfig } from 'vitest/config';

// The first run downloads kubectl.
export default defineConfig({ test: { testTimeout: 120_000, hookTimeout: 240_000 } });
