import { defineConfig } from 'vitest/config';

// The first test of a clone downloads kubectl.
export default defineConfig({ test: { testTimeout: 120_000, hookTimeout: 240_000 } });
