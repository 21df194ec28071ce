import { defineConfig } from 'vitest/config';

// Starting and killing real servers takes its time on a busy machine; many at once take longer than a database is waited
// for.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000, fileParallelism: false } });
