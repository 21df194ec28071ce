import { defineConfig } from 'vitest/config';

// A file starts Postgres, DBOS and the runtime.
export default defineConfig({ test: { hookTimeout: 60_000, testTimeout: 60_000 } });
