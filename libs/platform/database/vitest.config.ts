import { defineConfig } from 'vitest/config';

// Starting and killing real servers takes a while on a busy machine; many at once would exceed the time that the code
// waits for a database.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000, fileParallelism: false } });
