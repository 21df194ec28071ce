import { defineConfig } from 'vitest/config';

// llama.cpp's processes wait for their turn on a busy machine.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
