import { defineConfig } from 'vitest/config';

// On a busy machine the runtime's threads have to wait for a core.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
