import { defineConfig } from 'vitest/config';

// Encoding a text of one megabyte takes a while on a busy machine.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
