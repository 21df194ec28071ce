import { defineConfig } from 'vitest/config';

// llama.cpp and the runtime share a busy machine with other projects' tests.
export default defineConfig({ test: { hookTimeout: 60_000, testTimeout: 60_000 } });
