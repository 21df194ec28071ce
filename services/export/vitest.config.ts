import { defineConfig } from 'vitest/config';

// llama.cpp and the runtime share the machine with the tests of other projects.
export default defineConfig({ test: { hookTimeout: 60_000, testTimeout: 60_000 } });
