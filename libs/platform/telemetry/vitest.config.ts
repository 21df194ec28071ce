import { defineConfig } from 'vitest/config';

// An exporter gives up after 10 s.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
