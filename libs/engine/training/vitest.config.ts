import { defineConfig } from 'vitest/config';

// The runtime's threads wait for their turn on a busy machine.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
