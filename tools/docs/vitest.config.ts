import { defineConfig } from 'vitest/config';

// Generous, for busy machines.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
