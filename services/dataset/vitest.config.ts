import { defineConfig } from 'vitest/config';

// Each file starts Postgres and DBOS.
export default defineConfig({ test: { hookTimeout: 60_000, testTimeout: 30_000 } });
