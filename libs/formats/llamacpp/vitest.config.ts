import { defineConfig } from 'vitest/config';

// On a busy machine llama.cpp's processes are slow.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
