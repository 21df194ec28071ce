import { defineConfig } from 'vitest/config';

// Each spec file starts Postgres and DBOS.
export default defineConfig({ test: { hookTimeout: 60_000, testTimeout: 30_000 } });
